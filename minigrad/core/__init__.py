"""The evening: everything that runs when a GPT trains, from the ops to the layers. docs/reading.md has the order."""
