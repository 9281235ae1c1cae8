"""The doctor: watches some steps of a training and says what is wrong with it, with evidence, line and mend."""
