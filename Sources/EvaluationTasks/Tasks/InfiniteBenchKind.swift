/// Ten tasks of InfiniteBench (arXiv 2402.13718): those of the paper's table.
public enum InfiniteBenchKind: String, CaseIterable, Sendable, Hashable {
  case passkey
  case numberString = "number_string"
  case keyValue = "kv_retrieval"
  case summary = "longbook_sum_eng"
  case choice = "longbook_choice_eng"
  case question = "longbook_qa_eng"
  case chineseQuestion = "longbook_qa_chn"
  case dialogue = "longdialogue_qa_eng"
  case mathFind = "math_find"
  case codeDebug = "code_debug"

  /// Tokens that an answer may have, as in MInference's experiments.
  public var answerTokens: Int {
    switch self {
    case .passkey: 15
    case .numberString: 20
    case .keyValue: 80
    case .summary: 1200
    case .choice, .question, .chineseQuestion, .dialogue: 40
    case .mathFind: 3
    case .codeDebug: 5
    }
  }

  public var scoring: AnswerScoring {
    switch self {
    case .passkey, .numberString: .firstInteger
    case .keyValue: .keyValue
    case .summary: .rougeLSum
    case .choice: .choice
    case .question: .wordF1
    case .chineseQuestion: .characterF1
    case .dialogue: .speaker
    case .mathFind: .firstNumber
    case .codeDebug: .codeDebug
    }
  }

  /// How the answer begins, for models that go on with a text.
  var answerPrefix: String {
    switch self {
    case .passkey: " The pass key is"
    case .numberString: " The sequence of digits is"
    case .keyValue, .mathFind: ""
    case .summary: " Summary:"
    case .choice: " The letter of the right answer is"
    case .question: " Answer:"
    case .chineseQuestion: " 答案："
    case .dialogue: " The name that stood in the place of $$MASK$$ is"
    case .codeDebug: " The right option is:"
    }
  }

  /// The prompt, in our own wording.
  func prompt(context: String, input: String, options: [String]) -> String {
    let lettered = zip("ABCD", options).map { "\($0). \($1)" }.joined(separator: "\n")
    switch self {
    case .passkey, .numberString:
      return "One piece of information is hidden in the long text below, which means nothing "
        + "otherwise. Find it; you will be asked for it.\n\n\(context)\n\n\(input)"
    case .keyValue:
      return
        "Find the value of the key asked for in the JSON object below.\n\n\(context)\n\n\(input)"
    case .summary:
      return "Write a summary of the book below.\n\n\(context)"
    case .choice:
      return "Read the book below and choose the right answer to the question.\n\n\(context)\n\n"
        + "Question: \(input)\n\(lettered)"
    case .question:
      return "Read the book below and answer the question in a few words.\n\n\(context)\n\n"
        + "Question: \(input)"
    case .chineseQuestion:
      return "请先读下面的书，再用几个字回答问题。\n\n\(context)\n\n问题：\(input)"
    case .dialogue:
      return
        "In the script below the name of one speaker was replaced by \"$$MASK$$\" in one place. "
        + "Find out who it is.\n\n\(context)\n\nWho is \"$$MASK$$\"? Answer with the name alone, as "
        + "it stands before the colons."
    case .mathFind:
      return "Find the number asked for in the list below.\n\n\(context)\n\n\(input)"
    case .codeDebug:
      return "Exactly one function in the Python code below was given a mistake that makes it fail."
        + "\n\n\(context)\n\nWhich of these functions is it?\n\(lettered)"
    }
  }
}
