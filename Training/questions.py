"""Evaluation prompts over held-out books; training uses none of them.

Each maker returns a Question: what to hide, the prompt around the text, and what the model has to
say next. Keys come from words that training never puts into facts.
"""

import dataclasses
import string

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"


@dataclasses.dataclass
class Question:
    needles: list  # sentences to hide, in text order
    before: str  # the prompt before the text
    after: str  # the prompt after it
    answer: str
    hay: str = "book"  # book, noise, list or passage
    line: object = None  # for lists: a function that makes one more line


def chat(needles, instruction, question, answer, **more):
    return Question(
        needles, "<|im_start|>user\n" + instruction,
        "\n\n" + question + "<|im_end|>\n<|im_start|>assistant\n", answer, **more)


class Maker:
    def __init__(self, random, words, names):
        self.random, self.words, self.names = random, words, names

    def digits(self, count):
        return "".join(self.random.choice(string.digits) for _ in range(count))

    def hexadecimal(self, count=8):
        return "".join(self.random.choice("0123456789abcdef") for _ in range(count))

    def uuid(self):
        return "-".join(self.hexadecimal(count) for count in (8, 4, 4, 4, 12))

    def key(self):
        return f"{self.random.choice(self.words)}-{self.random.choice(self.words)}"

    # Tasks in chat form

    def needle(self, others=0):
        facts = [(self.key(), self.digits(7)) for _ in range(others + 1)]
        key, value = facts[0]
        self.random.shuffle(facts)
        sentences = [f"The special entry number for {k} is: {v}." for k, v in facts]
        return chat(
            sentences, "Please read this text with care.\n\n",
            f"What is the special entry number for {key} given in the text?", value)

    def multi_key(self):
        return self.needle(others=7)

    def key_value(self):
        key, value = self.hexadecimal(), self.hexadecimal()
        return chat(
            [f'"{key}": "{value}",\n'], "This is a JSON object:\n{\n",
            f'What is the value of the key "{key}" in the JSON object?', value,
            hay="list", line=lambda: f'"{self.hexadecimal()}": "{self.hexadecimal()}",\n')

    def variables(self):
        names = ["".join(self.random.choice(string.ascii_uppercase) for _ in range(5)) for _ in range(4)]
        value = self.digits(5)
        sentences = [f"VAR {names[0]} = {value}"] + [
            f"VAR {b} = VAR {a}" for a, b in zip(names, names[1:])]
        return chat(
            sentences, "Follow the assignments of variables in this text.\n\n",
            f"Which variables have the value {value}?", ", ".join(names))

    def fact(self):
        a, b = self.random.choice(self.names), self.random.choice(self.names)
        word = self.random.choice(self.words)
        sentence, question, answer = self.random.choice([
            (f"{a}'s favorite tree is {word}.", f"What is {a}'s favorite tree?", word),
            (f"{a} {b} lives in {word.capitalize()}.", f"Where does {a} {b} live?", word.capitalize()),
            (f"The secret word for {a} is {word}.", f"What is the secret word for {a}?", word),
            (f"The best friend of {a} is {b}.", f"Who is the best friend of {a}?", b)])
        return chat([sentence], "Please read this text with care.\n\n", question, answer)

    def passage(self):
        return Question(
            [], "<|im_start|>user\nPlease read this text with care.\n\n",
            "\n\nContinue this passage from the text above:", "", hay="passage")

    # The public tests, in their own words (RULER, needle in a haystack, InfiniteBench)

    def ruler(self, needles, thing, query, answers, **more):
        many = len(answers) > 1
        ask = (
            f"What are all the special magic {thing}s for {query} mentioned in the provided text?"
            f" The special magic {thing}s for {query} mentioned in the provided text are" if many else
            f"What is the special magic {thing} for {query} mentioned in the provided text?"
            f" The special magic {thing} for {query} mentioned in the provided text is")
        some = f"Some special magic {thing}s are" if many else f"A special magic {thing} is"
        it = "them" if many else "it"
        plural = f"{thing}s" if many else thing
        return Question(
            needles, f"{some} hidden within the following text. Make sure to memorize {it}."
            f" I will quiz you about the {plural} afterwards.\n", "\n" + ask,
            " " + ", ".join(answers), **more)

    @staticmethod
    def magic(thing, key, value):
        return f"One of the special magic {thing}s for {key} is: {value}."

    def ruler_single_1(self):
        key, value = self.key(), self.digits(7)
        return self.ruler([self.magic("number", key, value)], "number", key, [value], hay="noise")

    def ruler_single_2(self):
        key, value = self.key(), self.digits(7)
        return self.ruler([self.magic("number", key, value)], "number", key, [value])

    def ruler_single_3(self):
        key, value = self.key(), self.uuid()
        return self.ruler([self.magic("uuid", key, value)], "uuid", key, [value])

    def ruler_multikey_1(self):
        pairs = [(self.key(), self.digits(7)) for _ in range(4)]
        return self.ruler(
            [self.magic("number", k, v) for k, v in pairs], "number", pairs[1][0], [pairs[1][1]])

    def ruler_multikey_2(self):
        key, value = self.key(), self.digits(7)
        return self.ruler(
            [self.magic("number", key, value) + "\n"], "number", key, [value], hay="list",
            line=lambda: self.magic("number", self.key(), self.digits(7)) + "\n")

    def ruler_multikey_3(self):
        key, value = self.uuid(), self.uuid()
        return self.ruler(
            [self.magic("uuid", key, value) + "\n"], "uuid", key, [value], hay="list",
            line=lambda: self.magic("uuid", self.uuid(), self.uuid()) + "\n")

    def ruler_multivalue(self):
        key, values = self.key(), [self.digits(7) for _ in range(4)]
        return self.ruler([self.magic("number", key, v) for v in values], "number", key, values)

    def ruler_multiquery(self):
        pairs = [(self.key(), self.digits(7)) for _ in range(4)]
        keys = [k for k, _ in pairs]
        hidden = list(pairs)
        self.random.shuffle(hidden)
        return self.ruler(
            [self.magic("number", k, v) for k, v in hidden], "number",
            ", ".join(keys[:-1]) + ", and " + keys[-1], [v for _, v in pairs])

    def ruler_variables(self):
        def chain(count, length):
            names = ["".join(self.random.choice(string.ascii_uppercase) for _ in range(length)) for _ in range(count)]
            value = self.digits(5)
            lines = [f"VAR {names[0]} = {value}"] + [
                f"VAR {b} = VAR {a} " for a, b in zip(names, names[1:])]
            return names, value, lines

        def ask(value, count):
            return (
                f"Question: Find all variables that are assigned the value {value} in the text"
                " above. Answer: According to the chain(s) of variable assignment in the text"
                f" above, {count} variables are assigned the value {value}, they are:")
        task = "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
        names, value, lines = chain(5, 3)
        example = NOISE + "".join(line + "\n" + NOISE for line in lines)
        shown = task + example + ask(value, 5) + " " + " ".join(names) + "\n\n"
        names, value, lines = chain(5, 5)
        return Question(lines, shown + task, "\n" + ask(value, 5), " " + " ".join(names), hay="noise")

    def san_francisco(self):
        return chat(
            ["The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a"
             " sunny day."], "", "What is the best thing to do in San Francisco?",
            "eat a sandwich and sit in Dolores Park on a sunny day")

    def pass_key(self):
        key = self.digits(5)
        return Question(
            [f"The pass key is {key}. Remember it. {key} is the pass key."],
            "There is an important info hidden inside a lot of irrelevant text. Find it and memorize"
            " it. I will quiz you about the important information.\n\n",
            "\nWhat is the pass key?\n\nThe pass key is", " " + key, hay="noise")


REQUIRED = ["needle", "multi_key", "key_value", "variables", "fact", "passage"]
PUBLIC = [
    "ruler_single_1", "ruler_single_2", "ruler_single_3", "ruler_multikey_1", "ruler_multikey_2",
    "ruler_multikey_3", "ruler_multivalue", "ruler_multiquery", "ruler_variables", "san_francisco",
    "pass_key"]
