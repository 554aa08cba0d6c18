import TextReports
import ArgumentParser

/// A positive number of tokens, blocks or threads: 4096, 32K, 1M.
struct Size: ExpressibleByArgument, Sendable {
  let value: Int

  /// The text, if it is a size of at least `minimum`; otherwise a message that says what is.
  static func parsed(_ text: String, atLeast minimum: Int = 1) throws -> Size {
    guard let value = Quantity.parse(text) else {
      throw ValidationError("\"\(text)\" is not a size; give a number such as 4096, 32K or 1M")
    }
    guard value >= minimum else {
      throw ValidationError(
        "\(Quantity.grouped(value)) is too small; give \(Quantity.grouped(minimum)) or more")
    }
    return Size(value: value)
  }

  init(value: Int) {
    self.value = value
  }

  init?(argument: String) {
    guard let size = try? Self.parsed(argument) else { return nil }
    self = size
  }

  var defaultValueDescription: String { Quantity.grouped(value) }
}

/// Numbers with a range, for `transform:` of options.
enum Number {
  /// A finite number in `range`.
  static func parsed(_ text: String, in range: ClosedRange<Double>, allowed: String) throws
    -> Double
  {
    guard let value = Double(text), range.contains(value) else {
      throw ValidationError("\"\(text)\" is not allowed; give \(allowed)")
    }
    return value
  }
}
