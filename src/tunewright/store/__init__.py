"""Everything durable: artefacts, checkpoints, run folders, events, locks. The only package that writes what must survive."""
