import JSON

/// Reads the JSON of a call, `{"name": ..., "arguments": {...}}`, as it comes, and gives on the text of
/// the arguments. `parameters` stands for `arguments` where a model says so.
package struct ToolCallReader: Sendable {
  private var bytes: [UInt8] = []
  private var position = 0
  package private(set) var name: String?
  /// Whether the arguments have begun; their text up to `position` was given on.
  private var argumentsStart: Int?
  private var depth = 0
  private var isInString = false
  private var isEscaped = false
  private var isDone = false

  package init() {}

  /// Takes more text. Gives the name once it is known, and arguments once they follow it.
  package mutating func push(_ text: String) -> (name: String?, arguments: String) {
    bytes += text.utf8
    var newName: String?
    if name == nil, let found = stringValue(of: "name") {
      name = found
      newName = found
    }
    guard name != nil, !isDone else { return (newName, "") }
    if argumentsStart == nil {
      guard let start = valueStart(of: "arguments") ?? valueStart(of: "parameters") else {
        return (newName, "")
      }
      argumentsStart = start
      position = start
    }
    let start = position
    while position < bytes.count, !isDone { advance() }
    return (newName, String(decoding: bytes[start..<position], as: UTF8.self))
  }

  /// One byte of the arguments.
  private mutating func advance() {
    let byte = bytes[position]
    position += 1
    if isInString {
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isInString = false
      }
      return
    }
    switch byte {
    case UInt8(ascii: "\""): isInString = true
    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      depth -= 1
      isDone = depth <= 0
    default: break
    }
  }

  /// The string that is the value of a key, if all of it has come.
  private func stringValue(of key: String) -> String? {
    guard let start = valueStart(of: key), bytes[start] == UInt8(ascii: "\"") else { return nil }
    var index = start + 1
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "\\") {
        index += 2
        continue
      }
      if bytes[index] == UInt8(ascii: "\"") {
        return (try? JSONValue(parsing: Array(bytes[start...index])))?.text
      }
      index += 1
    }
    return nil
  }

  /// Where the value of a key of the outermost object begins, if it has.
  private func valueStart(of key: String) -> Int? {
    let wanted = Array("\"\(key)\"".utf8)
    var depth = 0
    var index = 0
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "\""):
        let start = index
        index += 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
          index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard index < bytes.count else { return nil }
        if depth == 1, Array(bytes[start...index]) == wanted {
          var value = index + 1
          while value < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[value]) { value += 1 }
          if value < bytes.count, bytes[value] == UInt8(ascii: ":") {
            value += 1
            while value < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[value]) {
              value += 1
            }
            return value < bytes.count ? value : nil
          }
        }
      default: break
      }
      index += 1
    }
    return nil
  }
}
