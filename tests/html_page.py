"""The pages of the report and of comparisons, as tests read them."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The page's visible text, its tables, its attributes, and whether its tags balance."""

    VOID = frozenset({"meta", "img", "br", "path", "circle", "use", "rect", "line"})

    def __init__(self, html):
        super().__init__()
        self.text, self.attributes, self.open, self.tables, self.links = "", [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\N{MINUS SIGN}", "-")

    def row(self, table, title):
        return next([cell.strip() for cell in row] for row in self.tables[table] if row[0].strip() == title)
