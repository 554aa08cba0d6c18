/// The values of a call's arguments.
struct TemplateArguments {
  var positional: [TemplateValue] = []
  var named: [(name: String, value: TemplateValue)] = []

  /// The arguments in the order of a function's parameters.
  ///
  /// - Parameters:
  ///   - parameters: their names; those up to `required` must be given.
  ///   - function: what is called, for errors.
  func bound(
    to parameters: [String], required: Int = 0, of function: String, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> BoundArguments {
    guard positional.count <= parameters.count else {
      throw budget.failure(
        "\(function) takes \(parameters.count) arguments, and \(positional.count) are given")
    }
    var values: [TemplateValue?] = positional.map { $0 }
    values += Array(repeating: nil, count: parameters.count - positional.count)
    for (name, value) in named {
      guard let index = parameters.firstIndex(of: name) else {
        throw budget.failure("\(function) has no parameter \"\(name)\"")
      }
      guard values[index] == nil else {
        throw budget.failure("\(function) is given \"\(name)\" twice")
      }
      values[index] = value
    }
    for index in 0..<required where values[index] == nil {
      throw budget.failure("\(function) needs the argument \"\(parameters[index])\"")
    }
    return BoundArguments(values: values, function: function, parameters: parameters)
  }
}

/// Arguments in the order of the parameters.
struct BoundArguments {
  fileprivate let values: [TemplateValue?]
  fileprivate let function: String
  fileprivate let parameters: [String]

  subscript(index: Int) -> TemplateValue? { values[index] }

  /// The argument, or nil where it is not given or none.
  func present(_ index: Int) -> TemplateValue? {
    guard let value = values[index], !value.isNone else { return nil }
    return value
  }

  func text(_ index: Int, _ budget: TemplateBudget) throws(ChatTemplateError) -> TemplateText {
    guard case .text(let text)? = values[index] else {
      throw budget.failure("\(function) needs a text as \"\(parameters[index])\"")
    }
    return text
  }

  func integer(
    _ index: Int, default fallback: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Int {
    guard let value = values[index] else { return fallback }
    guard let integer = value.asInteger else {
      throw budget.failure("\(function) needs a whole number as \"\(parameters[index])\"")
    }
    return integer
  }

  func flag(_ index: Int, default fallback: Bool = false) -> Bool {
    values[index]?.isTrue ?? fallback
  }
}
