"""The small models that tests run on are loadable, read both languages and are the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["tiny_bert_folder", "tiny_gpt2_folder", "tiny_llama_folder"])
def test_a_tiny_model_reads_english_and_chinese(name: str, request: pytest.FixtureRequest) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder: Path = request.getfixturevalue(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    for text in ("This movie was wonderful, 10/10!", "这部电影很好看，推荐给大家。"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state
        assert hidden.shape == (1, len(ids), 32)
        assert torch.isfinite(hidden).all()
