"""Deploy: a tuned model as a folder that others load, with a certificate that it answers as the run does."""
