"""Structures that go out to be labelled, and labels that come back, as files."""
