"""Writes scores.jsonl: answers, references and the scores that Python's own tools give them.

    pip install rouge-score && python make_scores.py > scores.jsonl

The rules are those of RULER's and InfiniteBench's scorers, written again here with `re`, `collections`
and `rouge_score`, so that the Swift code is compared with Python's string functions.
"""

import collections
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
}

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
