"""Everything a person looks at: recording, replay, stepping, gradient checks, pages, commands."""
