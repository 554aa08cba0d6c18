import Grammars
import JSON
import MInference

/// What an answer has to look like.
enum ResponseFormat: Sendable {
  case text
  /// A JSON object, or what the schema allows.
  case json(schema: JSONValue?)

  /// `response_format`, as OpenAI and llama.cpp have it.
  init(_ fields: RequestFields) throws(APIError) {
    guard let format = try fields.object("response_format") else {
      self = .text
      return
    }
    try self.init(format: format, key: "response_format")
  }

  /// - Parameter key: The field that holds the format, for errors.
  init(format: RequestFields, key: String) throws(APIError) {
    switch try format.text("type") {
    case "text", nil: self = .text
    case "json_object": self = .json(schema: try format.object("schema")?.value)
    case "json_schema":
      // OpenAI's chat completions have one object more than its responses and llama.cpp.
      let nested = try format.object("json_schema")?.object("schema")?.value
      let own = try format.object("schema")?.value
      guard let schema = nested ?? own else {
        throw format.missing("json_schema", "an object with schema")
      }
      self = .json(schema: schema)
    case .some(let type):
      throw .invalid(
        "\(key).type is \"\(type.prefix(40))\": give text, json_object or json_schema",
        parameter: key)
    }
  }

  /// The constraint that holds an answer to it, or to calls where these are demanded; nil where there
  /// is none.
  ///
  /// - Parameter maximumTokens: Tokens that the answer may have.
  func constraint(
    for model: ServedModel, tools: Tools, maximumTokens: Int
  ) throws -> (any AnswerConstraint)? {
    let grammar: Grammar
    let key: String
    do {
      if let demanded = tools.demanded {
        key = "tools"
        grammar = try JSONSchema.toolCalls(demanded.map { ($0.name, $0.parameters) })
      } else if case .json(let schema) = self {
        key = "response_format"
        grammar =
          try schema.map { (schema) throws(GrammarError) in
            try JSONSchema.grammar(of: schema)
          } ?? Grammar.jsonObject()
      } else {
        return nil
      }
    } catch let error as GrammarError {
      throw APIError.invalid("\(error)", parameter: "response_format", code: "invalid_schema")
    }
    let constraint = try GrammarConstraint(grammar, spelling: model.spelling)
    guard constraint.bytesToCompletion <= maximumTokens else {
      throw APIError.invalid(
        "the shortest answer that satisfies \(key) may take \(constraint.bytesToCompletion) tokens "
          + "and the limit is \(maximumTokens); raise max_tokens", parameter: "max_tokens")
    }
    return constraint
  }
}

extension Tools {
  /// The functions of which one has to be called; nil where none has to.
  var demanded: [Function]? {
    switch choice {
    case .none, .auto: nil
    case .required: functions.isEmpty ? nil : functions
    case .function(let name): functions.filter { $0.name == name }
    }
  }
}
