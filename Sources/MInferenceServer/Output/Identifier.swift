/// Identifiers of answers and calls.
enum Identifier {
  /// "chatcmpl-5f0c..." : 24 random digits.
  static func make(_ prefix: String) -> String {
    let digits = Array("0123456789abcdefghijklmnopqrstuvwxyz")
    return prefix + "-" + String((0..<24).compactMap { _ in digits.randomElement() })
  }
}
