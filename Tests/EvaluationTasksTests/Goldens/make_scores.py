"""Writes scores.jsonl: answers, references and the scores that Python's own tools give them.

    pip install rouge-score && python make_scores.py > scores.jsonl

The rules are those of RULER's and InfiniteBench's scorers, written again here with `re`, `collections`,
`difflib` and `rouge_score`, so that the Swift code is compared with Python's string functions.
"""

import collections
import difflib
import json
import random
import re
import string

from rouge_score import rouge_scorer

CHINESE = set("！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.")
rouge = rouge_scorer.RougeScorer(["rougeLsum"], use_stemmer=False)


def blanks(text, marks):
    for mark in marks:
        text = text.replace(mark, " ")
    return text


def f1(answer, reference):
    common = sum((collections.Counter(answer) & collections.Counter(reference)).values())
    return 2 * common / (len(answer) + len(reference)) if common else 0.0


def words(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(?:an?|the)\b", " ", text).split()


def characters(text):
    return [c for c in text.lower() if c not in string.punctuation and c not in CHINESE and not c.isspace()]


def named(text, prefixes, options):
    """What follows a phrase decides; None if no phrase is there."""
    for prefix in prefixes:
        if prefix in text:
            return text.split(prefix, 1)[1][1:].startswith(tuple(options)) and len(text.split(prefix, 1)[1]) >= 1


def choice(answer, references):
    answer = answer.strip()
    if re.match("[A-D]", answer):
        return answer[0] in references
    if answer and answer in references:
        return True
    answer = re.sub(" +", " ", blanks(answer, "\n\"'.,?!{}"))
    found = named(answer, ["answer is:", "answer:", "answer is", "option is"], references)
    if found is None:
        found = next((word in references for word in answer.split() if word in "ABCD"), False)
    return found


def code(answer, references):
    name, letter = references
    answer = answer.strip()
    if answer[:2] in (letter + ".", letter + ":"):
        return True
    answer = re.sub(" +", " ", blanks(answer, ["\n", "`", "'", '"', "-", "*", "Option", "option"]))
    return bool(named(answer, ["answer is:", "is:", "answer:"], [letter, name]))


def number(answer, references):
    found = re.search(r"\d+(?:\.\d+)?", answer, re.ASCII)
    wanted = references[0]
    if not found:
        return False
    return float(found[0]) == float(wanted) if "." in wanted else int(float(found[0])) == int(wanted)


def set_f1(answer, references):
    place = answer.lower().rfind("final answer:")
    text = answer[place + len("final answer:"):] if place >= 0 else answer
    text = re.split(r"[\]\n]", text.lstrip(" \n["))[0]
    found = {x for x in re.split(r"""[,\["'`\s]+""", text) if x}
    hits = len(found & set(references))
    return 2 * hits / (len(found) + len(set(references))) if hits else 0.0


def marked(answer, references):
    mark, text = references
    answer = answer.strip()
    if not answer.startswith(mark):
        return 0.0
    return difflib.SequenceMatcher(None, answer[len(mark):].strip(), text).ratio()


def python_value(answer, references):
    if not references[0].startswith("["):
        return (re.findall("[0-9]+", answer) or [""])[0] == references[0]
    found = re.search(r"\[[^\]]*\]", answer)
    return bool(found) and "".join(found[0].split()) == "".join(references[0].split())


def last_integer(answer, references):
    return (re.findall("[0-9]+", re.sub("(?<=[0-9]),(?=[0-9])", "", answer)) or [""])[-1] == references[0]


def leading_words(answer, references):
    answer, wanted = ([w for w in (re.sub(r"\W", "", x) for x in t.lower().split()) if w] for t in (answer, references[0]))
    same = 0
    while same < min(len(answer), len(wanted)) and answer[same] == wanted[same]:
        same += 1
    return same / len(wanted)


def line_similarity(answer, references):
    answer, wanted = ([x.strip() for x in t.splitlines() if x.strip()] for t in (answer, references[0]))
    return difflib.SequenceMatcher(None, "\n".join(answer[:len(wanted)]), "\n".join(wanted)).ratio()


RULES = {
    "contains_all": lambda a, r: sum(x.lower() in a.lower() for x in r) / len(r),
    "contains_any": lambda a, r: any(x.lower() in a.lower() for x in r),
    "first_integer": lambda a, r: (re.findall("[0-9]+", a) or [""])[0] == r[0],
    "first_number": number,
    "key_value": lambda a, r: r[0] in blanks(a, list("\n:\"'.,?!{}") + ["</s>", "The", "To"]).split(),
    "speaker": lambda a, r: r[0] in blanks(a, "\n:\"'.,?!{}").upper().split(),
    "choice": choice,
    "code_debug": code,
    "word_f1": lambda a, r: max(f1(words(a), words(x)) for x in r),
    "character_f1": lambda a, r: max(f1(characters(a), characters(x)) for x in r),
    "rouge_l_sum": lambda a, r: rouge.score(r[0], a)["rougeLsum"].fmeasure,
    "set_f1": set_f1,
    "marked_similarity": marked,
    "python_value": python_value,
    "last_integer": last_integer,
    "leading_words": leading_words,
    "line_similarity": line_similarity,
}

TOWN = ("The mill stood above the harbour, and below it the boats came and went with salt and rope. Nobody in the "
        "town could say who had built it, or when; the oldest letters name it, and the oldest maps show it, and in "
        "every one of them its wheel is broken.")

REFERENCES = {
    "contains_all": [["7340915", "1234567"], ["Harbor-Lamp"], ["é", "straße"]],
    "contains_any": [["the North Sea", "north sea"], ["1066"]],
    "first_integer": [["48213"], ["0071"]],
    "first_number": [["7"], ["7.5"], ["0.25"], ["12"]],
    "key_value": [["3b80fa56-11"], ["value"]],
    "speaker": [["BAKER"], ["O"]],
    "choice": [["the mill", "B"], ["Ada", "D"]],
    "code_debug": [["find_path", "C"], ["Dump", "A"]],
    "word_f1": [["the old mill", "a mill by the river"], ["Ann Lee"]],
    "character_f1": [["北京大学", "北大"], ["三 天"]],
    "rouge_l_sum": [["The mill burned.\nAda left the town at dawn and never came back.\nThe river rose."]],
    "set_f1": [["0f4e2ab917", "77c01d5be2", "d215ce4039"], ["9b3d8860fa"]],
    "marked_similarity": [["qzkdwx", "The mill burned, and Ada left."], ["mark", TOWN]],
    "python_value": [["[12, 7, 40]"], ["5"]],
    "last_integer": [["42"], ["1042"]],
    "leading_words": [["the wheel is broken"], ["Ada's boat came home"]],
    "line_similarity": [["    if x:\n        return y\n    return None"], [TOWN]],
}

HAND = {
    "contains_all": ["They are 7340915 and 1234567.", "7340915", "HARBOR-LAMP!", "", "e\u0301 STRASSE", "É Straße"],
    "contains_any": ["in the NORTH sea", "It was 10666", "none"],
    "first_integer": [" 48213.", "key 0071 x", "4821 3", "", "no digits", "١٢ 48213"],
    "first_number": ["7", " 7.9", "it is 7.5", "7.", ".25", "0.25", "-7", "12abc", "", "1e3"],
    "key_value": ['"3b80fa56-11"', "The value", "Thevalue", "value</s>", "values", ""],
    "speaker": ["baker: yes", "O'Brien", "Baker.", "bakers", ""],
    "choice": ["B", " B. the mill", "the mill", "The answer is: B", "the answer is:", "answer is the mill", "I say AB or D",
               "answer: Ada", "Option is D", "option is D", "ABC", "", "  ", "so B", "answer is:B"],
    "code_debug": ["C.", "C:", " C. x", "The error is: find_path", "answer is: 'Dump'", "C", "answer:", "is: Option C", ""],
    "word_f1": ["The old mill!", "mill", "an old, old mill by a river", "“the” mill", "Ann-Lee", "", "a_n mill", "É mill"],
    "character_f1": ["北京，大学。", "北大", "3 天", "三天…", "", "ＡＢ"],
    "rouge_l_sum": ["Ada left at dawn.\nThe mill burned down.", "the the the river", "", "...\n\n", "The river rose. The mill burned.",
                    "Ada never came back to the town\nAda left Ada\r\nthe river the mill"],
    "set_f1": ["0f4e2ab917, 77c01d5be2, d215ce4039]", "[9b3d8860fa]", "Final Answer: [0f4e2ab917, 9b3d8860fa]", "[]", "",
               "A walk.\nFinal answer: [77c01d5be2]\nFinal Answer: ['d215ce4039', \"0f4e2ab917\"]. Done.",
               "9b3d8860fa\n0f4e2ab917", "9b3d8860fa, 9b3d8860fa, 9b3d8860fa", "I think 9b3d8860fa"],
    "marked_similarity": ["qzkdwx The mill burned, and Ada left.", "qzkdwxThe mill burned and Ada came.", "The mill burned",
                          " qzkdwx\n", "mark" + TOWN, "mark " + TOWN[40:], "mark " + TOWN[::-1], "mark", "",
                          "mark" + TOWN.replace("oldest", "newest"), "mark" + TOWN[100:] + TOWN[:100]],
    "python_value": ["[12, 7, 40]", "`[12,7,40]`.", "[12, 7]", "5", "5 items, not 6", "It is 15", "", "[12, 7, 40", "[ 12,\n7, 40 ]"],
    "last_integer": ["40 + 2 = 42", "Answer: 1,042.", "42, 1", "42 1042", "", "none", "1,042, 42", "Answer: 42 crates"],
    "leading_words": ["the wheel is broken", "The wheel -- is broken!", "the wheel was broken", "wheel is broken", "",
                      "Ada's boat came", "ADAS boat", "the  wheel\nis broken and more"],
    "line_similarity": ["if x:\n  return y\n\nreturn None\nmore", "return None", "", "if y:\n    return x", TOWN, TOWN[::2], "\n\n"],
}


def main():
    draw = random.Random(7)
    for name, rule in RULES.items():
        pieces = [p for text in HAND[name] + sum(REFERENCES[name], []) for p in re.split(r"(\s+)", text)]
        mixed = ["".join(draw.choice(pieces) for _ in range(draw.randint(1, 12))) for _ in range(25)]
        for answer in HAND[name] + mixed:
            for references in REFERENCES[name]:
                print(json.dumps(
                    {"scoring": name, "answer": answer, "references": references,
                     "score": float(rule(answer, references))}, ensure_ascii=False))


main()
