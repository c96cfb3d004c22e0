"""The sections of the page, one file each, in the order of the page: a function of the result that gives Markup."""
