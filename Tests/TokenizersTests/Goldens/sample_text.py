"""The twin of Sources/Tokenizers/Benchmark/SampleText.swift: the same bytes for the same kind and seed."""

WORDS = """the of and to a in that he was it his is with for as had you not be her on at by which have or from
this him but all she they were my are me one their so an said them we who would been will no when
there if more out up into do any your what has man could other than our some very time upon about
may its only now like little then can should made did us such great before must two these see know
over much down after first mister good men own never most old shall day where those came come himself
way work life without go make well through being long say might how am too under again many same
house against country thought wonderful extraordinary circumstances notwithstanding philosophy""".split()
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")
ODDITIES = [
    "<|", "<|end|>", " <|user|> \n", "<|im_start|>", "x<|im_end|>", "</s>  ", "<s>", "<unk>",
    "<|begin_of_text|>", "<|endoftext|>", "<|end_of_text|", "<0x0A>", "\u2581", "\u2581\u2581",
    "'s", "'S", "'\u017f", "'lL", "'Re", "'", "1234567", "\U0001F1E9\U0001F1EA", "[MASK]", "a[MASK]",
    " [MASK] ", "<extra>", "<EXTRA>  ",
]
KINDS = ["prose", "code", "json", "chinese", "unicode", "oneLetter", "letters", "mixedCase", "words", "han",
         "digits", "punctuation", "spaces", "newlines", "marks"]


class SampleText:
    def __init__(self, seed):
        self.state = seed

    def pick(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        return (self.state >> 33) % limit

    def skewed(self, limit):
        return self.pick(self.pick(limit) + 1)

    def scalar(self, first, last):
        return chr(first + self.pick(last - first + 1))

    def word(self):
        return WORDS[self.skewed(len(WORDS))]

    def unit(self, kind):
        match kind:
            case "prose": return self.sentence()
            case "code": return self.code()
            case "json": return self.json()
            case "chinese": return self.chinese()
            case "unicode": return self.oddity()
            case "oneLetter": return "a"
            case "letters": return self.scalar(0x61, 0x7A)
            case "mixedCase": return chr((0x41 if self.pick(2) == 0 else 0x61) + self.pick(26))
            case "words": return self.word()
            case "han": return chr(0x4E00 + self.skewed(20000))
            case "digits": return self.scalar(0x30, 0x39)
            case "punctuation": return PUNCTUATION[self.pick(len(PUNCTUATION))]
            case "spaces": return " "
            case "newlines": return "\n"
            case "marks": return self.scalar(0x300, 0x33F)

    def sentence(self):
        out = []
        count = 4 + self.pick(16)
        for index in range(count):
            word = self.word()
            out.append(chr(ord(word[0]) - 0x20) + word[1:] if index == 0 else word)
            roll = self.pick(40)
            if roll == 0: out.append("'s")
            elif roll == 1: out.append(f" {self.pick(3000)}")
            elif roll in (2, 3, 4): out.append(",")
            elif roll == 5: out.append("n't")
            elif roll == 6: out.append(" \u2014")
            if index + 1 < count: out.append(" ")
        out.append([".", "?", "!", ".\""][self.pick(4)])
        out.append("\n\n" if self.pick(8) == 0 else " ")
        return "".join(out)

    def code(self):
        indent = "    " * self.pick(4)
        match self.pick(5):
            case 0: return indent + f"def {self.word()}_{self.word()}(self, {self.word()}={self.pick(100)}):\n"
            case 1: return indent + f"if self.{self.word()} >= 0x{self.pick(4096):x} and not {self.word()}:\n"
            case 2:
                return indent + (f"{self.word()} = [{self.pick(10)}, \"{self.word()}\\n\", None]"
                                 f"  # {self.word()} {self.word()}\n")
            case 3: return indent + f"return {{'{self.word()}': {self.word()}[{self.pick(9)}], **{self.word()}}}\n"
            case _: return indent + "\n"

    def json(self):
        out = f"{{\"id\": {self.pick(1000000)}, \"{self.word()}\": \"{self.word()} {self.word()}\", "
        return out + (f"\"{self.word()}\": [{self.pick(10)}.{self.pick(1000)}, true, null],\n"
                      f"  \"{self.word()}\": -{self.pick(50)}}},\n")

    def chinese(self):
        out = "".join(chr(0x4E00 + self.skewed(4000)) for _ in range(2 + self.pick(16)))
        return out + ["\uff0c", "\u3002", "\u3001", "\uff1a", "\u3002\n"][self.pick(5)]

    def oddity(self):
        match self.pick(12):
            case 0: return self.scalar(0x20, 0x2FF)
            case 1: return self.scalar(0x300, 0x36F)
            case 2: return self.scalar(0x370, 0x1FFF)
            case 3: return self.scalar(0x2000, 0x33FF)
            case 4: return self.scalar(0x1100, 0x11FF)
            case 5: return self.scalar(0xAC00, 0xD7A3)
            case 6: return self.scalar(0xE000, 0x1FFFF)
            case 7: return self.scalar(0x20000, 0x10FFFF)
            case 8: return ODDITIES[self.pick(len(ODDITIES))]
            case 9: return self.word()
            case 10: return ["\u00e9", "e\u0301", "\u05d0\u05b8", "\u212b", "\u0390"][self.pick(5)]
            case _: return [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000"][self.pick(7)]


def make(kind, count, seed=1):
    generator, parts, size = SampleText(seed), [], 0
    while size < count:
        parts.append(generator.unit(kind))
        size += len(parts[-1].encode())
    return "".join(parts)


def fnv(data):
    """FNV-1a over 32-bit words or bytes, as the tests do it."""
    value = 0xCBF29CE484222325
    for item in data:
        value = ((value ^ item) * 0x100000001B3) & (2**64 - 1)
    return value
