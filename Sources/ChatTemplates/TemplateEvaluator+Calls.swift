#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Functions of the template language and methods of texts and objects.
extension TemplateEvaluator {
  static let functions: Set<String> = ["range", "namespace", "raise_exception", "strftime_now"]

  mutating func call(
    _ callee: TemplateExpression, _ arguments: TemplateArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    if case .member(let object, let name) = callee.form {
      let receiver = try evaluate(object)
      let values = try EvaluatedArguments(arguments, &self)
      switch receiver {
      case .text(let text): return try callMethod(name, of: text, values, line: line)
      case .object(let object): return try callMethod(name, of: object, values, line: line)
      case .undefined(let what):
        throw ChatTemplateError(
          .evaluation, line: line, "\(what) is undefined, so has no method \(name)")
      default:
        throw ChatTemplateError(
          .unsupported, line: line, "\(receiver.kind) has no method \"\(name)\"")
      }
    }
    let function = try evaluate(callee)
    guard case .function(let name) = function else {
      throw ChatTemplateError(.evaluation, line: line, "\(function.kind) cannot be called")
    }
    return try callFunction(name, EvaluatedArguments(arguments, &self), line: line)
  }

  private func callFunction(
    _ name: String, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    switch name {
    case "raise_exception":
      let message = try arguments[0, "message"].map { (value) throws(ChatTemplateError) in
        try text(of: value, line: line).string
      }
      throw ChatTemplateError(.raised, line: line, message ?? "the template raised an exception")
    case "namespace":
      let namespace = TemplateNamespace()
      namespace.members = arguments.members
      return .namespace(namespace)
    case "strftime_now":
      guard case .text(let format)? = arguments[0, "format"] else {
        throw ChatTemplateError(.evaluation, line: line, "strftime_now needs a format")
      }
      return .string(Self.formatted(currentTime, format.string))
    default: return try range(arguments.positional.map(\.asInteger), line: line)
    }
  }

  private func range(_ bounds: [Int?], line: Int) throws(ChatTemplateError) -> TemplateValue {
    let bounds = bounds.compactMap { $0 }
    guard (1...3).contains(bounds.count), bounds.count < 3 || bounds[2] != 0 else {
      throw ChatTemplateError(.evaluation, line: line, "range needs one to three numbers")
    }
    let start = bounds.count == 1 ? 0 : bounds[0]
    let end = bounds.count == 1 ? bounds[0] : bounds[1]
    let step = bounds.count == 3 ? bounds[2] : 1
    let largest = 1_000_000
    guard abs(Double(end) - Double(start)) / abs(Double(step)) <= Double(largest) else {
      throw ChatTemplateError(.evaluation, line: line, "a range of more than \(largest) numbers")
    }
    return .list(stride(from: start, to: end, by: step).map { .integer($0) })
  }

  /// A time in the local zone, by the C library's `strftime`.
  private static func formatted(_ time: Int, _ format: String) -> String {
    var seconds = time_t(time)
    var parts = tm()
    guard !format.isEmpty, localtime_r(&seconds, &parts) != nil else { return "" }
    var buffer = [UInt8](repeating: 0, count: 1024)
    let count = buffer.withUnsafeMutableBytes { bytes in
      strftime(bytes.assumingMemoryBound(to: CChar.self).baseAddress, bytes.count, format, &parts)
    }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  // MARK: Methods

  private func callMethod(
    _ name: String, of text: TemplateText, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    func textArgument(_ index: Int) throws(ChatTemplateError) -> TemplateText {
      guard case .text(let argument)? = arguments[index, ""] else {
        throw ChatTemplateError(.evaluation, line: line, "\(name) needs a text")
      }
      return argument
    }
    switch name {
    case "strip", "lstrip", "rstrip":
      let set = arguments.positional.isEmpty ? nil : try textArgument(0).bytes
      return .text(text.stripped(start: name != "rstrip", end: name != "lstrip", of: set))
    case "startswith": return .bool(text.bytes.starts(with: try textArgument(0).bytes))
    case "endswith":
      return .bool(text.bytes.reversed().starts(with: try textArgument(0).bytes.reversed()))
    case "upper": return .text(text.mapRuns { $0.uppercased() })
    case "lower": return .text(text.mapRuns { $0.lowercased() })
    case "replace":
      let pattern = try textArgument(0).bytes
      guard !pattern.isEmpty else {
        throw ChatTemplateError(.unsupported, line: line, "replace of an empty text")
      }
      return .text(text.replacing(pattern, with: try textArgument(1)))
    case "split":
      switch arguments[0, "sep"] {
      case nil, .some(.none): return .list(text.splitAtWhiteSpace().map { .text($0) })
      default: break
      }
      let separator = try textArgument(0).bytes
      guard !separator.isEmpty else {
        throw ChatTemplateError(.evaluation, line: line, "split at an empty text")
      }
      let limit = arguments[1, "maxsplit"]?.asInteger ?? -1
      return .list(
        text.split(by: separator, limit: limit < 0 ? .max : limit).map { .text($0) })
    default:
      throw ChatTemplateError(
        .unsupported, line: line,
        "the method \"\(name)\" of texts is not supported; known are endswith, lower, lstrip, replace, "
          + "rstrip, split, startswith, strip, upper")
    }
  }

  private func callMethod(
    _ name: String, of object: TemplateObject, _ arguments: EvaluatedArguments, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    switch name {
    case "items":
      return .list(object.members.map { .list([.string($0.key), $0.value]) })
    case "keys": return .list(object.members.map { .string($0.key) })
    case "values": return .list(object.members.map(\.value))
    case "get":
      guard case .text(let key)? = arguments[0, "key"] else {
        throw ChatTemplateError(.evaluation, line: line, "get needs a key")
      }
      return object[key.string] ?? arguments[1, "default"] ?? .none
    default:
      throw ChatTemplateError(
        .unsupported, line: line,
        "the method \"\(name)\" of objects is not supported; known are get, items, keys, values")
    }
  }
}
