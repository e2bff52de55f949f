"""The study of survival: which labels make potentials that keep molecules whole in their own dynamics."""
