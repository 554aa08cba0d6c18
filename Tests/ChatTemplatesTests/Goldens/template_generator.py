"""Random templates over values that every construct of the language can be applied to.

Templates are drawn from a grammar with kinds, so that most of them have a value; some fail, and must fail here too.
"""
import random

TEXTS = ["''", "'abc'", "'Hello World'", "' a  b\\n'", "'é日本🦙'", "'a,b,,c'", "\"it's\"", "'x<y>&\"z\"'", "'12'", "'-3.5'", "'AbC dEf'",
         "messages[0].content", "messages[1].role", "messages[-1]['content']", "name", "'%s-%s'", "'a\\tb\\\\'"]
NUMBERS = ["0", "1", "2", "-3", "7", "10", "2.5", "0.1", "-0.5", "1e3", "1e16", "1.5e-7", "true", "false", "count", "messages | length"]
LISTS = ["[]", "[1, 2, 3]", "['b', 'A', 'c']", "[3, 1, 2, 1]", "(1, 'a', none)", "[[1, 2], [3, 4]]", "[true, none, 0, '']", "range(5) | list", "items",
         "messages | map(attribute='role') | list", "'abc'", "[1.5, 2, -1]", "[{'a': 2, 'b': 'x'}, {'a': 1, 'b': 'Y'}]"]
DICTS = ["{}", "{'a': 1, 'b': [1, 2]}", "{'b': 1, 'A': 2}", "{1: 'one', 2: 'two'}", "messages[0]", "data", "dict(x=1, y='z')"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, choices):
        return self.random.choice(choices)

    def text(self, depth):
        if depth <= 0:
            return self.pick(TEXTS)
        t, n, l, d, v = self.text, self.number, self.list, self.dict, self.value
        k = depth - 1
        return self.pick([
            lambda: self.pick(TEXTS), lambda: f"({t(k)} ~ {v(k)})", lambda: f"({t(k)} + {t(k)})", lambda: f"({t(k)} * {self.pick(['0', '2', '3'])})",
            lambda: f"{t(k)}[{self.bound()}:{self.bound()}]", lambda: f"{t(k)}[::{self.pick(['-1', '2', '-2'])}]", lambda: f"{t(k)}[{self.index()}]",
            lambda: f"({t(k)} | {self.pick(['upper', 'lower', 'title', 'capitalize', 'trim', 'reverse', 'first', 'last', 'e', 'string', 'indent', 'center(9)', 'urlencode'])})",
            lambda: f"{t(k)}.{self.pick(['upper()', 'lower()', 'title()', 'capitalize()', 'swapcase()', 'strip()', 'lstrip()', 'rstrip()', 'casefold()'])}",
            lambda: f"{t(k)}.{self.pick(['strip', 'lstrip', 'rstrip', 'removeprefix', 'removesuffix'])}({t(k)})",
            lambda: f"{t(k)}.replace({t(0)}, {t(0)}{self.pick(['', ', 1', ', -1', ', 2'])})", lambda: f"({t(k)} | replace({t(0)}, {v(0)}))",
            lambda: f"{t(0)}.join({l(k)} | map('string'))", lambda: f"({l(k)} | join({t(0)}))", lambda: f"({v(k)} | tojson{self.pick(['', '(indent=2)', '(sort_keys=true)', '(ensure_ascii=true)'])})",
            lambda: f"({v(k)} | string)", lambda: f"({t(k)} | truncate({self.pick(['3', '5', '8'])}, {self.pick(['true', 'false'])}, '..', 0))",
            lambda: f"('%s|%5s|%-5s|%r' % ({v(k)}, {v(0)}, {t(0)}, {v(0)}))", lambda: f"('%d %.2f %05d %x' % ({n(0)}, {n(0)}, {n(0)}, {self.pick(['10', '255'])}))",
            lambda: f"'{{}} {{!r}} {{:>6}}'.format({v(k)}, {v(0)}, {t(0)})", lambda: f"{t(k)}.{self.pick(['center', 'ljust', 'rjust', 'zfill'])}({self.pick(['0', '5', '8'])})",
            lambda: f"({t(k)} if {v(k)} else {t(k)})", lambda: f"({v(k)} | default({t(0)}{self.pick(['', ', true'])}))",
        ])()

    def number(self, depth):
        if depth <= 0:
            return self.pick(NUMBERS)
        t, n, l, v = self.text, self.number, self.list, self.value
        k = depth - 1
        return self.pick([
            lambda: self.pick(NUMBERS), lambda: f"({n(k)} {self.pick(['+', '-', '*', '/', '//', '%'])} {n(k)})", lambda: f"({n(0)} ** {self.pick(['0', '2', '3', '-1', '0.5'])})",
            lambda: f"(-{n(k)})", lambda: f"({l(k)} | {self.pick(['length', 'count', 'sum', 'min', 'max'])})", lambda: f"({t(k)} | {self.pick(['length', 'wordcount', 'int', 'float', 'int(5)', 'float(1.5)'])})",
            lambda: f"({n(k)} | {self.pick(['abs', 'round', 'int', 'float', 'round(1)', 'round(2)', 'round(1, `floor`)', 'round(0, `ceil`)'])})".replace("`", "'"),
            lambda: f"{t(k)}.{self.pick(['find', 'rfind', 'count', 'index'])}({t(0)})", lambda: f"({n(k)} if {v(k)} else {n(k)})",
            lambda: f"({v(k)} {self.pick(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'])} {v(k)})", lambda: f"({n(k)} {self.pick(['<', '<=', '==', '>'])} {n(k)} {self.pick(['<', '>=', '!='])} {n(k)})",
            lambda: f"({v(k)} is {self.pick(['', 'not '])}{self.pick(['defined', 'none', 'string', 'number', 'integer', 'float', 'boolean', 'mapping', 'sequence', 'iterable', 'true', 'false', 'lower', 'upper', 'callable'])})",
            lambda: f"({n(k)} is {self.pick(['odd', 'even', 'divisibleby 3', 'gt 1', 'eq(2)', 'in [1, 2]'])})", lambda: f"(not {v(k)})",
            lambda: f"{t(k)}.{self.pick(['isdigit', 'isalpha', 'isalnum', 'isupper', 'islower', 'isspace', 'istitle', 'isascii', 'isnumeric'])}()",
            lambda: f"{t(k)}.{self.pick(['startswith', 'endswith'])}({self.pick([t(0), '(' + t(0) + ', ' + t(0) + ')'])})",
        ])()

    def list(self, depth):
        if depth <= 0:
            return self.pick(LISTS)
        t, n, l, d, v = self.text, self.number, self.list, self.dict, self.value
        k = depth - 1
        return self.pick([
            lambda: self.pick(LISTS), lambda: f"[{v(k)}, {v(k)}]", lambda: f"({v(k)}, {v(k)})", lambda: f"({l(k)} | list)", lambda: f"({l(k)} | list + {l(k)} | list)",
            lambda: f"({l(k)} | list)[{self.bound()}:{self.bound()}:{self.pick(['1', '2', '-1', ''])}]", lambda: f"({l(k)} | {self.pick(['sort', 'sort(reverse=true)', 'reverse', 'unique', 'batch(2)', 'slice(2)', 'select', 'reject'])} | list)",
            lambda: f"({l(k)} | map('{self.pick(['string', 'length', 'upper', 'int', 'first', 'tojson'])}') | list)", lambda: f"({l(k)} | {self.pick(['select', 'reject'])}('{self.pick(['defined', 'string', 'number', 'odd', 'none', 'mapping'])}') | list)",
            lambda: f"{t(k)}.{self.pick(['split', 'rsplit'])}({self.pick(['', t(0), t(0) + ', 1', 'none, 1'])})", lambda: f"{t(k)}.{self.pick(['splitlines()', 'splitlines(true)'])}",
            lambda: f"{t(k)}.{self.pick(['partition', 'rpartition'])}({t(0)})", lambda: f"({d(k)} | {self.pick(['dictsort', 'items', 'list', 'dictsort(by=`value`)'])} | list)".replace("`", "'"),
            lambda: f"{d(k)}.{self.pick(['keys', 'values', 'items'])}()", lambda: f"(messages | {self.pick(['selectattr', 'rejectattr'])}('role', 'equalto', 'user') | list)",
            lambda: f"({l(k)} if {v(k)} else {l(k)})", lambda: f"({l(0)} | list * {self.pick(['0', '2'])})",
        ])()

    def dict(self, depth):
        if depth <= 0:
            return self.pick(DICTS)
        k = depth - 1
        return self.pick([
            lambda: self.pick(DICTS), lambda: f"{{{self.text(0)}: {self.value(k)}, {self.pick(['1', 'none', '(1, 2)', '2.5'])}: {self.value(k)}}}",
            lambda: f"dict({self.dict(0)}, a={self.value(k)})", lambda: f"({self.dict(k)} if {self.value(0)} else {self.dict(k)})",
        ])()

    def value(self, depth):
        k = depth - 1
        kinds = [self.text, self.number, self.list, self.dict]
        if depth > 0 and self.random.random() < 0.25:
            return self.pick([
                lambda: f"{self.dict(k)}.get({self.text(0)}{self.pick(['', ', 5'])})", lambda: f"{self.dict(k)}[{self.value(0)}]", lambda: f"({self.list(k)} | list)[{self.index()}]",
                lambda: f"({self.list(k)} | {self.pick(['first', 'last', 'min', 'max'])})", lambda: f"({self.value(k)} {self.pick(['and', 'or'])} {self.value(k)})",
                lambda: self.pick(["none", "missing", "messages", "loop", "data.list[1]", "data.nothing"]),
            ])()
        return self.pick(kinds)(depth)

    def index(self):
        return self.pick(["0", "1", "-1", "2", "9", "true"])

    def bound(self):
        return self.pick(["", "0", "1", "-1", "2", "-9", "9", "none"])

    def statement(self, depth):
        e = lambda: self.value(2)
        b = lambda: self.body(depth - 1)
        minus = lambda: self.pick(["", "", "-"])
        space = lambda: self.pick(["", "", " ", "\n", "\n  ", "x\n", " y "])
        if depth <= 0:
            return space() + "{{" + minus() + f" {e()} " + minus() + "}}" + space()
        open_, close = lambda: "{%" + self.pick(["", "", "-", "+"]) + " ", lambda: " " + self.pick(["", "", "-"]) + "%}"
        return space() + self.pick([
            lambda: f"{open_()}if {e()}{close()}{b()}{open_()}elif {e()}{close()}{b()}{open_()}else{close()}{b()}{open_()}endif{close()}",
            lambda: f"{open_()}for x in {self.list(1)}{close()}{{{{ loop.index }}}}{{{{ x }}}}{b()}{open_()}endfor{close()}",
            lambda: f"{open_()}for x in {self.list(1)} if x{close()}{{{{ loop.last }}}}{{{{ loop.length }}}}{b()}{open_()}else{close()}{b()}{open_()}endfor{close()}",
            lambda: f"{open_()}for k, v in {self.dict(1)}.items(){close()}{{{{ k }}}}={{{{ v }}}}{self.pick(['', '{% if loop.first %}{% continue %}{% endif %}', '{% break %}'])}{b()}{open_()}endfor{close()}",
            lambda: f"{open_()}set fresh = {e()}{close()}{b()}", lambda: f"{open_()}set made{close()}{b()}{open_()}endset{close()}{{{{ made }}}}",
            lambda: f"{open_()}set ns = namespace(a={self.value(1)}){close()}{open_()}for x in [1, 2]{close()}{open_()}set ns.a = x{close()}{b()}{open_()}endfor{close()}{{{{ ns.a }}}}",
            lambda: f"{open_()}macro f(a, b={self.value(0)}){close()}{{{{ a }}}}:{{{{ b }}}}{b()}{open_()}endmacro{close()}{{{{ f({e()}) }}}}{{{{ f(b={self.value(0)}, a=1) }}}}",
            lambda: f"{open_()}macro g(a){close()}<{{{{ caller(a) }}}}>{open_()}endmacro{close()}{open_()}call(q) g({self.value(1)}){close()}{{{{ q }}}}{b()}{open_()}endcall{close()}",
            lambda: f"{open_()}filter {self.pick(['upper', 'trim', 'indent(2)', 'replace(`a`, `b`)'])}{close()}{b()}{open_()}endfilter{close()}".replace("`", "'"),
            lambda: f"{open_()}with name = {e()}{close()}{b()}{open_()}endwith{close()}", lambda: f"{open_()}generation{close()}{b()}{open_()}endgeneration{close()}",
            lambda: f"{{#{minus()} {self.pick(['note', '{{ x }}', '%}'])} {minus()}#}}", lambda: f"{open_()}raw{close()}{{{{ x }}}}{open_()}endraw{close()}",
        ])() + space()

    def body(self, depth):
        return "".join(self.statement(self.random.randint(0, max(0, depth))) for _ in range(self.random.randint(1, 2)))

    def template(self):
        if self.random.random() < 0.6:
            return "{{ " + self.value(self.random.randint(1, 3)) + " }}"
        return self.body(3)


VARIABLES = {"name": "Ada", "count": 4, "items": [1, "two", [3]], "data": {"list": [1, {"k": "v"}], "text": "T"}}


def templates(seed, count):
    generator = Generator(seed)
    return [generator.template() for _ in range(count)]
