"""The one way out to people: everything that is printed or logged leaves through here.

What others wrote (names of objects and models, file contents, messages of servers) may hold escape sequences,
markup or line breaks. They are made visible here, at the border, so that no caller has to think of them;
printing by other ways is a lint error (`pyproject.toml`, banned-api).
"""
