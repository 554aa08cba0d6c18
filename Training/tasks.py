"""Synthetic things to remember: statements to hide in a text, and questions about them.

The wordings are put together from parts, so that a model learns the kind of task and not one
sentence. The prompts of the public tests and of questions.py are not among them (lines of JSON, of
assignments and some plain facts look alike in both).
"""

import dataclasses
import string

ADJECTIVES = ["special", "secret", "hidden", "private", "important", "official", "old", "new", ""]
NUMBER_THINGS = [
    "code", "number", "access code", "lucky number", "ticket number", "locker number",
    "room number", "magic number", "reference number", "serial number", "pin", "score",
]
WORD_THINGS = ["magic word", "word", "password", "keyword", "nickname", "label"]
FAVORITES = [
    "book", "city", "food", "animal", "game", "song", "color", "river", "flower", "drink", "word",
]
RELATIONS = [
    ("{a} lives in {b}.", "Where does {a} live?", "{a} lives in"),
    ("{a} was born in {b}.", "Where was {a} born?", "{a} was born in"),
    ("{a} works for {b}.", "Who does {a} work for?", "{a} works for"),
    ("{a} is married to {b}.", "Who is {a} married to?", "{a} is married to"),
    ("{a} is the teacher of {b}.", "Whose teacher is {a}?", "{a} is the teacher of"),
    ("The best friend of {a} is {b}.", "Who is the best friend of {a}?", "The best friend of {a} is"),
    ("{a} travelled to {b} last summer.", "Where did {a} travel last summer?", "{a} travelled to"),
]
PLACE_PHRASES = [
    ("The {s} thing to {v} in {a} is {b}.", "What is the {s} thing to {v} in {a}?", "The {s} thing to {v} in {a} is"),
    ("In {a}, one should always {b}.", "What should one always do in {a}?", "In {a}, one should always"),
    ("People who visit {a} are told to {b}.", "What are people who visit {a} told to do?", "They are told to"),
]
STATEMENTS = [
    "One of the {t}s for {k} is: {v}.", "One of the {t}s for {k} is {v}.", "The {t} for {k} is: {v}.",
    "The {t} for {k} is {v}.", "The {t} of {k} is {v}.", "Remember that the {t} for {k} is {v}.",
    "For {k}, the {t} is {v}.", "Note: {v} is the {t} for {k}.", "{k}'s {t} is {v}.",
    "Do not forget the {t} for {k}, which is {v}.", "It is said that the {t} of {k} is {v}.",
]
QUESTIONS = [
    "What is the {t} for {k}?", "What is the {t} for {k} mentioned in the text above?",
    "What is the {t} of {k}?", "Tell me the {t} for {k}.", "Which {t} belongs to {k}?",
    "According to the text, what is the {t} for {k}?", "Find the {t} for {k}.",
    "Give the {t} of {k} as stated in the document.", "What {t} was given for {k}?",
]
PREFIXES = ["The {t} for {k} is", "The {t} for {k} mentioned in the text is", "The {t} of {k} is"]
QUESTIONS_ALL = [
    "What are all the {t}s for {k}?", "What are all the {t}s for {k} mentioned in the text above?",
    "List the {t}s for {k}.", "Which {t}s were given for {k}?",
]
PREFIXES_ALL = ["The {t}s for {k} are", "The {t}s for {k} mentioned in the text are"]
PASS_KEYS = [
    ("The {t} is {v}. Keep it in mind. {v} is the {t}.", "What is the {t}?"),
    ("There is one important thing here: the {t} is {v}.", "Tell me the {t} in the text."),
    ("Remember the {t}: {v}.", "What was the {t} that you should remember?"),
]
PASS_THINGS = ["pass key", "passkey", "pass code", "sequence of digits", "combination of the safe"]
CHAIN_FIRST = ["VAR {a} = {b}", "let {a} = {b};", "{a} := {b}", "SET {a} TO {b}.", "{a} = {b}"]
CHAIN_NEXT = ["VAR {a} = VAR {b}", "let {a} = {b};", "{a} := {b}", "SET {a} TO {b}.", "{a} = {b}"]
CHAIN_QUESTIONS = [
    "Which variables hold the value {v}?", "Find every variable that has the value {v} in the text.",
    "List all the variables that are assigned the value {v}.", "Name all variables equal to {v}.",
    "Find all variables whose value is {v}, directly or through other variables.",
]
CHAIN_PREFIXES = [
    "The variables that hold the value {v} are", "By the assignments in the text, they are:",
    "{n} variables are assigned the value {v} in the text, namely:",
]


@dataclasses.dataclass
class Task:
    """Statements in text order, and a question whose answer they hold.

    The prefix is how an answer may begin when a prompt gives its first words."""

    statements: list
    question: str
    prefix: str
    answer: str
    any_order: bool = False


class Vocabulary:
    """Random keys and values."""

    def __init__(self, random, words, names):
        self.random, self.words, self.names = random, words, names

    def made_up(self):
        syllables = self.random.randrange(2, 4)
        return "".join(
            self.random.choice("bcdfghjklmnprstvwz") + self.random.choice("aeiou")
            for _ in range(syllables)
        ) + self.random.choice(["", "n", "r", "s", "l"])

    def word(self):
        if self.random.random() < 0.1:
            return self.made_up()
        # The commoner half more often than the rarer: names and common words are easy tokens.
        limit = len(self.words) if self.random.random() < 0.6 else 4000
        return self.random.choice(self.words[:limit])

    def name(self):
        if self.random.random() < 0.1:
            return self.made_up().capitalize()
        return self.random.choice(self.names)

    def place(self):
        return self.name() if self.random.random() < 0.5 else f"{self.name()} {self.name()}"

    def digits(self, count):
        return "".join(self.random.choice(string.digits) for _ in range(count))

    def number(self):
        return self.digits(self.random.choice([3, 4, 5, 6, 7, 7, 7, 7, 8, 10]))

    def hexadecimal(self, count=8):
        return "".join(self.random.choice("0123456789abcdef") for _ in range(count))

    def uuid(self):
        return "-".join(self.hexadecimal(count) for count in (8, 4, 4, 4, 12))

    def key(self):
        draw = self.random.random()
        if draw < 0.55:
            return f"{self.word()}-{self.word()}"
        if draw < 0.70:
            return self.word()
        if draw < 0.80:
            return self.name()
        if draw < 0.90:
            return f"{self.name()} {self.name()}"
        return f"{self.word()} {self.word()}"

    def phrase(self):
        return " ".join(self.word() for _ in range(self.random.randrange(3, 9)))

    def variable(self):
        draw = self.random.random()
        if draw < 0.75:
            return "".join(self.random.choice(string.ascii_uppercase) for _ in range(5))
        if draw < 0.9:
            return "".join(self.random.choice(string.ascii_uppercase) for _ in range(3))
        return self.word()


class TaskMaker:
    def __init__(self, vocabulary):
        self.vocabulary, self.random = vocabulary, vocabulary.random
        self.new_sequence()

    def new_sequence(self):
        """Most keyed facts of one text share a theme, so that only the key tells them apart."""
        self.theme = self.draw_theme()
        self.used_pass_things = set()

    def draw_theme(self):
        choice = self.random.choice
        kind = choice(["number", "number", "number", "number", "word", "uuid", "name"])
        things = NUMBER_THINGS if kind in ("number", "uuid") else WORD_THINGS
        adjective, thing = choice(ADJECTIVES), choice(things)
        if thing.startswith("magic") and adjective == "special":  # the public tests' own words
            adjective = ""
        return kind, f"{adjective} {thing}".strip(), choice(STATEMENTS), choice(QUESTIONS)

    def value(self, kind):
        vocabulary = self.vocabulary
        return {
            "number": vocabulary.number, "word": vocabulary.word,
            "uuid": vocabulary.uuid, "name": vocabulary.name,
        }[kind]()

    def task(self):
        draw = self.random.random()
        if draw < 0.42:
            return self.keyed()
        if draw < 0.48:
            return self.keyed_several()
        if draw < 0.52:
            return self.pass_key()
        if draw < 0.64:
            return self.favorite()
        if draw < 0.78:
            return self.relation()
        if draw < 0.87:
            return self.place_phrase()
        if draw < 0.94:
            return self.hexadecimal()
        return self.extension()

    def keyed(self):
        theme = self.theme if self.random.random() < 0.7 else self.draw_theme()
        kind, thing, statement, question = theme
        if self.random.random() < 0.3:
            question = self.random.choice(QUESTIONS)
        key, value = self.vocabulary.key(), self.value(kind)
        words = {"t": thing, "k": key, "v": value}
        prefix = self.random.choice(PREFIXES).format(**words)
        return Task([statement.format(**words)], question.format(**words), prefix, value)

    def keyed_several(self):
        """Several values of one key, or the values of several keys."""
        kind, thing, statement, _ = self.theme
        count = self.random.choice([2, 3, 4])
        values = [self.value(kind) for _ in range(count)]
        if self.random.random() < 0.5:
            key = self.vocabulary.key()
            keys = [key] * count
        else:
            keys = [self.vocabulary.key() for _ in range(count)]
            key = ", ".join(keys[:-1]) + (", and " if count > 2 else " and ") + keys[-1]
        statements = [statement.format(t=thing, k=k, v=v) for k, v in zip(keys, values)]
        question = self.random.choice(QUESTIONS_ALL).format(t=thing, k=key)
        prefix = self.random.choice(PREFIXES_ALL).format(t=thing, k=key)
        # The values of one key are asked for in text order, those of several in the question's.
        return Task(statements, question, prefix, ", ".join(values), keys[0] != keys[1])

    def pass_key(self):
        thing = self.random.choice(PASS_THINGS)
        if thing in self.used_pass_things:
            return self.keyed()
        self.used_pass_things.add(thing)
        statement, question = self.random.choice(PASS_KEYS)
        value = self.vocabulary.digits(self.random.choice([4, 5, 5, 6, 10]))
        words = {"t": thing, "v": value}
        return Task(
            [statement.format(**words)], question.format(**words), f"The {thing} is", value)

    def favorite(self):
        name, thing = self.vocabulary.place(), self.random.choice(FAVORITES)
        spelling = self.random.choice(["favorite", "favourite"])
        value = self.vocabulary.word() if self.random.random() < 0.7 else self.vocabulary.name()
        statement, question = self.random.choice([
            (f"{name}'s {spelling} {thing} is {value}.", f"What is {name}'s {spelling} {thing}?"),
            (f"The {spelling} {thing} of {name} is {value}.",
             f"What is the {spelling} {thing} of {name}?"),
        ])
        return Task([statement], question, f"{name}'s {spelling} {thing} is", value)

    def relation(self):
        statement, question, prefix = self.random.choice(RELATIONS)
        words = {"a": self.vocabulary.place(), "b": self.vocabulary.place()}
        return Task(
            [statement.format(**words)], question.format(**words), prefix.format(**words),
            words["b"])

    def place_phrase(self):
        statement, question, prefix = self.random.choice(PLACE_PHRASES)
        words = {
            "a": self.vocabulary.place(), "b": self.vocabulary.phrase(),
            "s": self.random.choice(["nicest", "first", "worst", "cheapest", "oldest", "strangest"]),
            "v": self.random.choice(["do", "see", "eat", "buy", "visit", "drink"]),
        }
        return Task(
            [statement.format(**words)], question.format(**words), prefix.format(**words),
            words["b"])

    def hexadecimal(self):
        key, value = self.vocabulary.hexadecimal(), self.vocabulary.hexadecimal()
        return Task(
            [f"The value for {key} is {value}."], f"What is the value for {key}?",
            f"The value for {key} is", value)

    def extension(self):
        name = f"{self.vocabulary.name()} {self.vocabulary.name()}"
        value = self.vocabulary.digits(self.random.choice([3, 4, 5]))
        return Task(
            [f"The phone extension of {name} is {value}."],
            f"What is the phone extension of {name}?", f"The phone extension of {name} is", value)

    def chain(self, style=None):
        """A chain of assignments: the answer names every variable of it, in order."""
        random = self.random
        style = random.randrange(len(CHAIN_FIRST)) if style is None else style
        count = random.choice([2, 3, 4, 4, 5])
        names = [self.vocabulary.variable() for _ in range(count)]
        value = self.vocabulary.digits(random.choice([4, 5, 5, 5]))
        statements = [CHAIN_FIRST[style].format(a=names[0], b=value)]
        for previous, name in zip(names, names[1:]):
            statements.append(CHAIN_NEXT[style].format(a=name, b=previous))
        separator = random.choice([", ", ", ", ", ", " "])
        question = random.choice(CHAIN_QUESTIONS).format(v=value)
        if separator == " ":
            question += " Separate them by blanks."
        prefix = random.choice(CHAIN_PREFIXES).format(v=value, n=count)
        return Task(statements, question, prefix, separator.join(names))

    def listing(self):
        """A list of keys with values: returns its first line, a function that gives one more
        line with its task, and its last line."""
        vocabulary, random = self.vocabulary, self.random
        style = random.choice(["json", "json", "json", "needles", "needles", "table", "book"])
        if style == "json":
            make_key, make_value = random.choice([
                (vocabulary.hexadecimal, vocabulary.hexadecimal),
                (vocabulary.hexadecimal, vocabulary.hexadecimal),
                (vocabulary.hexadecimal, vocabulary.hexadecimal),
                (vocabulary.uuid, vocabulary.uuid),
                (vocabulary.key, vocabulary.number),
                (vocabulary.word, vocabulary.word),
            ])
            newline = random.choice(["\n", "\n", " "])
            question = random.choice([
                'What is the value for key "{k}" in the JSON data?', 'What is the value of "{k}"?',
                'Key: "{k}"', "Which value does the key {k} have?", "Find the value for key {k}.",
            ])
            prefix = random.choice(['"{k}": "', 'The value for key "{k}" is "', "The value is"])

            def line():
                key, value = make_key(), make_value()
                return f'"{key}": "{value}",{newline}', Task(
                    [], question.format(k=key), prefix.format(k=key), value)
            return random.choice(["{", "{\n", "Data in JSON:\n{"]), line, "}"
        if style == "needles":
            kind, thing, statement, question = self.theme
            make_key = random.choice([vocabulary.key, vocabulary.key, vocabulary.uuid])
            prefix = random.choice(PREFIXES)
            newline = random.choice(["\n", " "])

            def line():
                words = {"t": thing, "k": make_key(), "v": self.value(kind)}
                return statement.format(**words) + newline, Task(
                    [], question.format(**words), prefix.format(**words), words["v"])
            return "", line, ""
        if style == "table":
            separator = random.choice([",", ";", "\t", " | ", " = "])

            def line():
                key, value = vocabulary.key(), vocabulary.number()
                return f"{key}{separator}{value}\n", Task(
                    [], f"Which value stands beside {key} in the table?",
                    f"Beside {key} stands", value)
            return f"key{separator}value\n", line, ""

        def line():
            task = random.choice([self.favorite, self.relation, self.extension])()
            return task.statements[0] + "\n", task
        return "", line, ""
