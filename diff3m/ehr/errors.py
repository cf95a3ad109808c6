"""The one error of the patient's record."""


class EHRError(ValueError):
    """A record that contradicts itself or the schema; the message names the field and says what to do."""
