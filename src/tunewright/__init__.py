"""Fine-tune a language model and know that it worked."""
