"""Choose the pretrained model to start from, bring it to this machine, and describe it as a ``Base``."""
