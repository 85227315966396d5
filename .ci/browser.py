"""A person's browser, as far as connecting an account needs one: cookies per host, redirects one
at a time, and forms that are sent as they stand."""

import html.parser
import urllib.parse

from support import ask


class _Forms(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attributes):
        at = dict(attributes)
        if tag == "form":
            self.forms.append({"action": at.get("action", ""), "method": at.get("method", "get").lower(), "fields": {}})
        elif tag in ("input", "button") and self.forms and at.get("name"):
            self.forms[-1]["fields"][at["name"]] = at.get("value", "")


class Browser:
    def __init__(self):
        self.cookies = {}
        self.url, self.answer = None, None

    def send(self, method, url, body=None, headers=None):
        """One request with this browser's cookies; the answer's cookies are kept."""
        url = urllib.parse.urljoin(self.url or url, url)
        at = urllib.parse.urlsplit(url)
        # Browsers keep cookies by host, whatever the port.
        jar = self.cookies.setdefault(at.hostname, {})
        mine = "; ".join(f"{name}={value}" for name, (value, path) in jar.items() if at.path.startswith(path))
        headers = {"User-Agent": "Mozilla/5.0", "Accept": "text/html", **({"Cookie": mine} if mine else {}), **(headers or {})}
        self.answer = ask(method, url, body, headers)
        self.url = url
        for name, value in self.answer.headers:
            if name.lower() == "set-cookie":
                self.keep(jar, value)
        return self.answer

    @staticmethod
    def keep(jar, text):
        pair, *rest = [part.strip() for part in text.split(";")]
        name, _, value = pair.partition("=")
        facts = {k.lower(): v for k, _, v in (part.partition("=") for part in rest)}
        if facts.get("max-age") == "0" or "1970" in facts.get("expires", ""):
            jar.pop(name, None)
        else:
            jar[name] = (value, facts.get("path", "/"))

    def follow(self, until=None, most=15):
        """Follows redirects; stops in front of the first address that begins with `until`."""
        for _ in range(most):
            if not 300 <= self.answer.status < 400:
                return self.answer
            to = urllib.parse.urljoin(self.url, self.answer.header("location"))
            if until and to.startswith(until):
                return to
            self.send("GET", to)
        raise AssertionError(f"more than {most} redirects, now at {self.url}")

    def form(self):
        """The one form of the page."""
        found = _Forms()
        found.feed(self.answer.text)
        if len(found.forms) != 1:
            raise AssertionError(f"{len(found.forms)} forms at {self.url}: {self.answer.status} {self.answer.text[:300]}")
        return found.forms[0]

    def press(self, **fields):
        """Sends the page's form as a browser does."""
        form = self.form()
        body = urllib.parse.urlencode({**form["fields"], **fields})
        at = urllib.parse.urlsplit(self.url)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"{at.scheme}://{at.netloc}",
                   "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        return self.send(form["method"].upper(), form["action"] or self.url, body, headers)
