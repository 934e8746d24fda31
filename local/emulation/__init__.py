"""moto with what this project's stack needs beside it; docs/local.md says what that is, and what is still left out."""
