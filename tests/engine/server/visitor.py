"""A person at the page without a browser: cookies, forms, and what the markup holds."""

from __future__ import annotations

import http.client
import re
from html.parser import HTMLParser
from urllib.parse import urlencode

from tests.engine.server.canned import PASSWORD

TOKEN = re.compile(r'name="form" value="([0-9a-f]{64})"')


class Markup(HTMLParser):
    """Tags with their attributes, and the words between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, {name: value or "" for name, value in attributes}))

    def handle_data(self, data):
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [facts for name, facts in self.tags if name == tag]


class Answer:
    """What came back."""

    def __init__(self, got: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.raw = got.status, got.headers, got.read()

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def markup(self) -> Markup:
        return Markup(self.text)

    @property
    def token(self) -> str:
        found = TOKEN.search(self.text)
        return found[1] if found else ""


class Visitor:
    """Keeps cookies as a browser does; ``headers``: sent with every request."""

    def __init__(self, port: int, **headers: str) -> None:
        self.port, self.headers, self.cookies = port, headers, dict[str, str]()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        return self.send("POST", path, urlencode(fields), headers)

    def send(self, method: str, path: str, body: str | bytes | None, headers: dict[str, str]) -> Answer:
        all_headers = {"Accept": "text/html"} | self.headers
        if method == "POST":
            all_headers["Content-Type"] = "application/x-www-form-urlencoded"
        if self.cookies:
            all_headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, path, body, all_headers)
            answer = Answer(line.getresponse())
        finally:
            line.close()
        for cookie in answer.headers.get_all("set-cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.strip('"')
        return answer

    def log_in(self, user: str, password: str = PASSWORD) -> Answer:
        token = self.get("/login").token
        return self.post("/login", {"user": user, "password": password, "form": token, "next": "/"})

    def submit(self, page: str, action: str, **fields: str) -> Answer:
        """Open a page and send one of its forms, with the token that stands there."""
        return self.post(action, fields | {"form": self.get(page).token})
