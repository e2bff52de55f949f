"""The double wells: adversarial, random and molecular-dynamics sampling, hundreds of loops at once."""
