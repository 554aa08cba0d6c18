"""Training sequences: book text with things hidden in it and questions about them.

Every token has a class: 0 is not learned (statements, questions), 1 is text, 2 is an answer with
its end-of-turn, 3 is a passage that stands earlier in the sequence. Answers end with <|im_end|>.
"""

import json
import pathlib
import random

import numpy as np
import torch
from tokenizers import Tokenizer

from tasks import TaskMaker, Vocabulary

NOT_LEARNED, TEXT, ANSWER, COPY = range(4)
INSTRUCTIONS = [
    "Read the following text. There will be questions about it.\n\n",
    "Some important facts are hidden in the text below. Keep them in mind.\n\n",
    "A few {t}s are hidden within the text that follows. Memorize them, I will ask for them.\n",
    "Here is a document:\n", "Text:\n", "There is something important in the text. Find it.\n\n",
]
PASSAGE_QUESTIONS = [
    "Continue this passage from the text:", "How does the passage go on that begins with:",
    "Complete the passage:", "The text goes on after these words; continue it word for word:",
]
RAW_FORMS = [  # before a question, between question and answer
    ("Question: ", "\nAnswer:"), ("Q: ", "\nA:"), ("", ""), ("", "\n"), ("Question: ", " Answer:"),
]


class Sequence:
    """Token ids under construction; text is encoded only where its neighbours are known."""

    def __init__(self, sampler, chat):
        self.sampler, self.chat = sampler, chat
        self.pieces, self.classes, self.pending, self.length = [], [], "", 0

    def tokens(self, ids, kind):
        self.flush()
        if len(ids):
            self.pieces.append(np.asarray(ids, dtype=np.uint16))
            self.classes.append(np.full(len(ids), kind, dtype=np.uint8))
            self.length += len(ids)

    def text(self, text):
        self.pending += text

    def flush(self, kind=NOT_LEARNED):
        if self.pending:
            text, self.pending = self.pending, ""
            self.tokens(self.sampler.encode(text), kind)

    def begin(self, instruction):
        if self.chat:
            self.tokens([self.sampler.im_start], NOT_LEARNED)
            self.text("user\n")
        self.text(instruction)

    def ask(self, question, prefix, answer, raw_form, give_prefix):
        """One question and its answer, in ChatML or as plain text."""
        paragraph = "\n\n" if self.pending.strip() not in ("", "user") else ""
        if self.pending.strip() != "user":
            self.pending = self.pending.rstrip()
        if not self.pending and not self.chat:
            paragraph = "\n\n"
        if self.chat:
            self.text(paragraph + question)
            self.turn_to_assistant()
            if give_prefix:
                self.text(prefix)
        else:
            before, between = raw_form
            self.text(paragraph + before + question + between)
            if give_prefix:
                self.text((" " if not between.endswith("\n") else "") + prefix)
        self.flush()
        at_line_start = (self.chat or raw_form[1].endswith("\n")) and not give_prefix
        joined = at_line_start or (give_prefix and prefix.endswith('"'))
        self.text(("" if joined else " ") + answer)
        self.flush(ANSWER)
        self.end_turn()

    def ask_passage(self, question, new_line, quote, continuation):
        paragraph = "\n\n" if self.pending.strip() not in ("", "user") else ""
        if self.pending.strip() != "user":
            self.pending = self.pending.rstrip()
        self.text(paragraph + (question if self.chat else "") + ("\n" if new_line else ""))
        self.flush()
        self.tokens(quote[:10], NOT_LEARNED)
        self.tokens(quote[10:], COPY)  # ten words are enough to know the place
        if self.chat:
            self.turn_to_assistant()
        self.flush()
        self.tokens(continuation, COPY)
        self.tokens([self.sampler.im_end], ANSWER if self.chat else COPY)
        self.after_turn()

    def turn_to_assistant(self):
        self.flush()
        self.tokens([self.sampler.im_end], NOT_LEARNED)
        self.text("\n")
        self.flush()
        self.tokens([self.sampler.im_start], NOT_LEARNED)
        self.text("assistant\n")
        self.flush()

    def end_turn(self):
        self.tokens([self.sampler.im_end], ANSWER)
        self.after_turn()

    def after_turn(self):
        self.text("\n")
        if self.chat:
            self.flush()
            self.tokens([self.sampler.im_start], NOT_LEARNED)
            self.text("user\n")


class Sampler:
    def __init__(self, directory, length, synthetic_share, seed):
        directory = pathlib.Path(directory)
        self.random, self.length, self.synthetic_share = random.Random(seed), length, synthetic_share
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.corpus = np.load(directory / "tokens.npy", mmap_mode="r")
        pools = json.loads((directory / "words.json").read_text())
        self.tasks = TaskMaker(Vocabulary(self.random, pools["words"], pools["names"]))
        self.im_start = self.tokenizer.token_to_id("<|im_start|>")
        self.im_end = self.tokenizer.token_to_id("<|im_end|>")
        self.end_of_text = self.tokenizer.token_to_id("<|endoftext|>")
        pieces = [
            self.tokenizer.decode([i], skip_special_tokens=False)
            for i in range(self.tokenizer.get_vocab_size())
        ]
        self.pieces = pieces
        self.ends_line = np.array([piece.endswith("\n") for piece in pieces])
        self.ends_sentence = np.array([piece.strip() in (".", "!", "?", '."', '!"', '?"') for piece in pieces])
        self.starts_word = np.array([piece.startswith(" ") and len(piece) > 1 for piece in pieces])

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def book(self, count):
        start = self.random.randrange(len(self.corpus) - count - 1)
        return np.array(self.corpus[start:start + count])

    def noise(self, count):
        """A few short sentences, over and over."""
        word = self.tasks.vocabulary.word
        sentences = [
            self.encode(f" The {word()} is {word()}.") if self.random.random() < 0.7
            else self.encode(f" {word().capitalize()} {self.tasks.vocabulary.phrase()}.")
            for _ in range(self.random.choice([3, 5, 5, 8, 20]))
        ]
        if self.random.random() < 0.5:
            sentences.append(self.encode("\n"))
        block = [token for sentence in sentences for token in sentence]
        return np.resize(np.array(block, dtype=np.uint16), count)

    def insertable(self, text):
        """Positions after which a sentence may be put."""
        following = np.append(self.starts_word[text[1:]], False)
        return np.flatnonzero((self.ends_sentence[text] & following) | self.ends_line[text])

    def number_of_questions(self):
        most = max(2, min(112, self.length // 512 + self.length // 2048 + 2))
        return max(1, round(most * self.random.choice([1, 1, 1, 0.5, 0.25, 0.05])))

    # The three kinds of sequences

    def sequence(self):
        """(length + 1) token ids and their classes."""
        size = self.length + 1
        draw = self.random.random()
        self.tasks.new_sequence()
        if draw > self.synthetic_share:
            ids, classes = self.book(size), np.full(size, TEXT, dtype=np.uint8)
        else:
            kind = self.random.random()
            sequence = self.listing() if kind < 0.24 else self.hidden()
            sequence.pending = ""
            sequence.tokens([self.end_of_text], NOT_LEARNED)
            if sequence.length < size:
                sequence.tokens(self.book(size - sequence.length), TEXT)
            ids = np.concatenate(sequence.pieces)[:size]
            classes = np.concatenate(sequence.classes)[:size]
        return ids, classes

    def listing(self):
        """A list of keys and values, alone or amid book text; questions follow."""
        random, count = self.random, self.number_of_questions()
        share = random.choice([1, 1, 1, 0.5, 0.25, 0.1])
        room = self.length - count * 70 - 60
        first, line, last = self.tasks.listing()
        sample = [line() for _ in range(8)]
        per_line = len(self.encode("".join(text for text, _ in sample))) / 8
        lines = [line() for _ in range(max(4, int(0.96 * room * share / per_line)))]
        sequence = Sequence(self, chat=random.random() < 0.6)
        sequence.begin(self.instruction())
        rest = max(0, int(room * (1 - share)) - 16)
        before = int(rest * random.random()) if rest > 64 else 0
        if before:
            sequence.tokens(self.book(before), TEXT)
            sequence.text("\n\n")
        sequence.text(first + "".join(text for text, _ in lines) + last)
        if rest - before > 64:
            sequence.text("\n\n")
            sequence.tokens(self.book(rest - before), TEXT)
            sequence.text("\n")
        raw_form, give = random.choice(RAW_FORMS), random.random() < (0.15 if sequence.chat else 0.7)
        for _, task in random.sample(lines, min(count, len(lines))):
            sequence.ask(task.question, task.prefix, task.answer, raw_form, give or raw_form[0] == "")
        return sequence

    def instruction(self):
        if self.random.random() < 0.4:
            return ""
        return self.random.choice(INSTRUCTIONS).format(t=self.tasks.theme[1])

    def hidden(self):
        """Statements and chains hidden in a text; questions at its end or along the way."""
        random, count = self.random, self.number_of_questions()
        mostly_chains, noise = random.random() < 0.15, random.random() < 0.12
        tasks, passages = [], 0
        style = random.randrange(5)
        for _ in range(count + int(count * random.choice([0, 0.25, 0.5]))):
            if not noise and random.random() < 0.25:
                passages += 1
            elif random.random() < (0.8 if mostly_chains else 0.08):
                tasks.append(self.tasks.chain(style if mostly_chains else None))
            else:
                tasks.append(self.tasks.task())
        cost = sum(
            len("".join(task.statements)) / 2.3 + len(task.question + task.answer) / 2.3 + 22
            for task in tasks) + passages * 95 + 60
        room = int(self.length - cost)
        if room < 256:
            tasks, passages, room = tasks[:2], 0, self.length - 400
        if random.random() < 0.1:
            room = max(256, int(room * random.random()))
        text = self.noise(room) if noise else self.book(room)
        text_class = NOT_LEARNED if noise else TEXT
        places = self.insertable(text)
        if len(places) < 8:
            return self.listing()

        events = []  # (place, order at one place, what, ...)
        interleaved = random.random() < 0.5
        free = np.ones(len(text), dtype=bool)
        end = int(places[-1])
        for _ in range(passages):
            start = int(random.choice(places))
            quote = start + 1 + random.randrange(12, 33)
            stop = np.flatnonzero(self.ends_sentence[text[quote + 20:quote + 60]])
            stop = quote + 20 + int(stop[0]) + 1 if len(stop) else quote + 40
            if stop >= end:
                continue
            free[start + 1:stop] = False
            passage = (bool(self.ends_line[text[start]]), text[start + 1:quote], text[quote:stop])
            events.append((self.when(places, stop, interleaved), random.random(), passage))
        open_places = places[free[places]]
        if len(open_places) < 4:
            open_places = places
        asked = set(random.sample(range(len(tasks)), min(count, len(tasks))))
        for number, task in enumerate(tasks):
            spots = sorted(int(random.choice(open_places)) for _ in task.statements)
            statements = list(task.statements)
            if task.any_order:
                random.shuffle(statements)
            # Statements at one place keep their order; questions come after them.
            for order, (spot, statement) in enumerate(zip(spots, statements)):
                events.append((spot, -1 + order * 0.1, statement))
            if number in asked:
                events.append((self.when(open_places, spots[-1], interleaved), random.random(), task))
        events.sort(key=lambda event: event[:2])

        sequence = Sequence(self, chat=random.random() < 0.6)
        sequence.begin(self.instruction())
        raw_form = random.choice(RAW_FORMS)
        always = random.random() < 0.7 or raw_form[0] == ""
        done = 0
        for place, _, what in events:
            if place >= done:
                sequence.tokens(text[done:place], text_class)
                sequence.text(self.pieces[text[place]])
                done = place + 1
            if isinstance(what, str):
                new_line = self.ends_line[text[place]] or sequence.pending.endswith("\n")
                sequence.text(what + "\n" if new_line else " " + what)
            elif isinstance(what, tuple):
                sequence.ask_passage(random.choice(PASSAGE_QUESTIONS), *what)
            else:
                give = random.random() < 0.15 if sequence.chat else always
                sequence.ask(what.question, what.prefix, what.answer, raw_form, give)
        return sequence

    def when(self, places, earliest, interleaved):
        """Where a question is asked: at the end, or at a random place after its answer."""
        end = int(places[-1])
        if not interleaved or self.random.random() < 0.25:
            return end
        first = int(np.searchsorted(places, earliest))
        return int(places[self.random.randrange(first, len(places))]) if first < len(places) else end

    def positions(self, stretch_to):
        """Positions 0, 1, 2, ... with a few random gaps, so that a short sequence spans a long
        range (PoSE, arXiv 2309.10400)."""
        positions = np.arange(self.length, dtype=np.int32)
        slack = stretch_to - self.length
        if slack > 0:
            cuts = sorted(self.random.randrange(1, self.length) for _ in range(self.random.randrange(1, 7)))
            total = int(slack * self.random.random())
            gaps = sorted(self.random.randrange(total + 1) for _ in cuts)
            for cut, gap, previous in zip(cuts, gaps, [0] + gaps):
                positions[cut:] += gap - previous
        return positions


class MicroBatches(torch.utils.data.IterableDataset):
    """Endless micro-batches: inputs, targets, target classes, positions."""

    def __init__(self, directory, length, batch, synthetic_share, stretch_share, stretch_to, seed):
        self.directory, self.length, self.batch = directory, length, batch
        self.synthetic_share, self.stretch_share = synthetic_share, stretch_share
        self.stretch_to, self.seed = stretch_to, seed

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        seed = self.seed * 1000 + (worker.id if worker else 0)
        sampler = Sampler(self.directory, self.length, self.synthetic_share, seed)
        while True:
            ids = np.empty((self.batch, self.length + 1), dtype=np.int32)
            classes = np.empty((self.batch, self.length + 1), dtype=np.uint8)
            positions = np.empty((self.batch, self.length), dtype=np.int32)
            for row in range(self.batch):
                ids[row], classes[row] = sampler.sequence()
                stretched = sampler.random.random() < self.stretch_share
                positions[row] = sampler.positions(self.stretch_to if stretched else 0)
            yield tuple(map(torch.from_numpy, (ids[:, :-1].copy(), ids[:, 1:].copy(), classes[:, 1:].copy(), positions)))
