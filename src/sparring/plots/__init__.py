"""Parts of figures that validations, the report and studies share: style, axes, colour scales, saving."""
