"""``sparring init``, ``check``, ``run`` and ``status``, as functions."""
