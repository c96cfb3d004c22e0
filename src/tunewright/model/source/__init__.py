"""Where a pretrained model can come from: one file per form of its name."""
