"""Python runs this first in every process that a test starts: the process is watched as the test itself is."""

import audit_hook

audit_hook.install()
audit_hook.watch(is_watching=True)
