"""The tune stage: search a declared space for the options under which a measured objective is best."""
