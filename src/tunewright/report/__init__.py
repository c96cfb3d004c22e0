"""Show a run: one self-contained HTML page, and a summary for the terminal. Both read ``result.json`` and nothing else.

render.render(result)          the page
terminal.summary(result)       the verdict-first content for the terminal
config.Report                  what of the user's rows may be kept and shown
privacy.mask(text)             personal data replaced by typed placeholders
"""
