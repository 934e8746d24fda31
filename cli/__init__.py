"""The command line: uploads, lines for pictures, what lies in an artifact, what people thought, what must go."""
