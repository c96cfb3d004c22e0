"""The lines of Python that use an exported model: they run as they stand, in the exported folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.infer.card import answers_with
from tunewright.infer.tags import Tags

_CLASSES = {
    "text": "AutoModelForCausalLM",
    "labels": "AutoModelForSequenceClassification",
    "spans": "AutoModelForTokenClassification",
}
_TEXTS = ["a gripping film", "浪费时间"]
_ADAPTED = """base = {kind}.from_pretrained({base!r}{options})  # the folder of the base
model = PeftModel.from_pretrained(base, folder).eval()
"""
_WHOLE = "model = {kind}.from_pretrained(folder).eval()\n"

_CHAT = """
messages = [{"role": "user", "content": "Hello!"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**inputs, max_new_tokens=200, do_sample=False)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def code(model: Mapping[str, Any], form: str) -> str:
    """The program for a model with this ``tunewright.json``, exported as ``form``."""
    answers = answers_with(model)
    is_chat, kind = answers == "text", _CLASSES[answers]
    imports = f"from transformers import {kind}, AutoTokenizer\n"
    options = "" if is_chat else f", num_labels={num_outputs(model)}"
    if form == "adapter":
        imports = "from peft import PeftModel\n" + imports
        load = _ADAPTED.format(kind=kind, base=str(model.get("base", "")), options=options)
    else:
        load = _WHOLE.format(kind=kind)
    opened = f'folder = "."  # where this file lies\ntokenizer = AutoTokenizer.from_pretrained(folder)\n{load}'
    if is_chat:
        return f"{imports}\n{opened}{_CHAT}"
    return f"import torch\n{imports}\n{opened}{_classify(model) if answers == 'labels' else _tag(model)}"


def num_outputs(model: Mapping[str, Any]) -> int:
    """The width of a head: a tag each, or a label each; one for two labels told apart by a sigmoid."""
    if answers_with(model) == "spans":
        return len(Tags(tuple(model["labels"]), model["scheme"]).names)
    return 1 if _is_single(model) else len(model["labels"])


def _tag(model: Mapping[str, Any]) -> str:
    """Tags of single tokens: what is beside them is found by this package alone."""
    names = list(Tags(tuple(model["labels"]), model["scheme"]).names)
    lines = [
        "",
        f"tags = {names!r}",
        'text = "Ada Lovelace lived in London."',
        f'inputs = tokenizer(text, truncation=True, max_length={model["max_length"]}, return_tensors="pt")',
        "with torch.inference_mode():",
        "    chosen = model(**inputs).logits[0].argmax(-1)",
        "print(list(zip(tokenizer.convert_ids_to_tokens(inputs['input_ids'][0]), (tags[at] for at in chosen))))",
    ]
    return "\n".join(lines) + "\n"


def _is_single(model: Mapping[str, Any]) -> bool:
    return model["options"].get("output") == "sigmoid" and not model["multi_label"] and len(model["labels"]) == 2


def _classify(model: Mapping[str, Any]) -> str:
    labels, thresholds = list(model["labels"]), model.get("thresholds") or {}
    lines = [
        "",
        f"labels = {labels!r}",
        f"texts = {_TEXTS!r}",
        f'inputs = tokenizer(texts, padding=True, truncation=True, max_length={model["max_length"]}, return_tensors="pt")',
        "with torch.inference_mode():",
        "    logits = model(**inputs).logits",
    ]
    if model["multi_label"]:
        limits = [thresholds.get(label, 0.5) for label in labels]
        lines += [
            f"chosen = logits.sigmoid() >= torch.tensor({limits!r})",
            "print([[label for label, is_chosen in zip(labels, row) if is_chosen] for row in chosen])",
        ]
    else:
        probability = "logits.sigmoid()[:, 0]" if _is_single(model) else "logits.softmax(-1)[:, 1]"
        refused = str(model["options"].get("out_of_scope") or "").strip()
        if refused in thresholds:
            lines += [
                "probabilities = logits.softmax(-1)",
                "chosen = probabilities.argmax(-1)",
                f"refused = labels.index({refused!r})  # none of the others",
                "probabilities[:, refused] = 0",
                f"chosen[probabilities.amax(-1) < {thresholds[refused]!r}] = refused",
            ]
        elif thresholds or _is_single(model):
            limit = next((value for label, value in thresholds.items() if label == labels[1]), 0.5)
            lines.append(f"chosen = ({probability} >= {limit!r}).long()")
        else:
            lines.append("chosen = logits.argmax(-1)")
        lines.append("print([labels[index] for index in chosen])")
    return "\n".join(lines) + "\n"
