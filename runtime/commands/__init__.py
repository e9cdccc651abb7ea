"""The verbs of a device: what each is called and takes (:mod:`.verbs`), and what it does (:mod:`.acts`)."""
