/// Reads the generated tables: words of hexadecimal digits between blanks.
enum UnicodeData {
  /// The `(first scalar, value)` entries of a transition table.
  static func transitions(_ table: StaticString) -> [(scalar: Int, value: Int)] {
    words(table).map { word in
      let parts = word.split(separator: UInt8(ascii: ":"))
      return (hexadecimal(parts[0]), hexadecimal(parts[1]))
    }
  }

  /// The words of a table, in order.
  static func words(_ table: StaticString) -> [ArraySlice<UInt8>] {
    table.withUTF8Buffer { Array($0).split(separator: UInt8(ascii: " ")) }
  }

  /// The value of hexadecimal digits in lower case.
  static func hexadecimal(_ digits: ArraySlice<UInt8>) -> Int {
    digits.reduce(0) { value, digit in
      value << 4 | Int(digit < UInt8(ascii: "a") ? digit - 0x30 : digit - 0x57)
    }
  }
}
