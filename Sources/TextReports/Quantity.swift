/// Sizes as people write and read them.
package enum Quantity {
  /// The number that `text` means: digits with an optional suffix K, M or G (times 1024, 1024^2,
  /// 1024^3), in either case. nil if it is no such number or does not fit an Int.
  package static func parse(_ text: String) -> Int? {
    let scales: [Character: Int] = ["k": 1 << 10, "m": 1 << 20, "g": 1 << 30]
    var digits = text[...]
    var scale = 1
    if let last = text.last, let suffix = last.lowercased().first, let factor = scales[suffix] {
      digits = text.dropLast()
      scale = factor
    }
    guard !digits.isEmpty, digits.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains),
      let number = Int(digits)
    else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: scale)
    return overflow ? nil : product
  }

  /// `value` with `digits` decimals, rounded half away from zero: 3.14, -0.5, nan, inf.
  package static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
    let scale = (0..<digits).reduce(1.0) { product, _ in product * 10 }
    let scaled = Int((abs(value) * scale).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return sign + "\(scaled)" }
    let padded = padLeft("\(scaled)", to: digits + 1, with: "0")
    return sign + padded.dropLast(digits) + "." + padded.suffix(digits)
  }

  /// 1234567 as "1,234,567".
  package static func grouped(_ value: Int) -> String {
    let digits = Array("\(value.magnitude)")
    var text = value < 0 ? "-" : ""
    for (offset, digit) in digits.enumerated() {
      if offset > 0, (digits.count - offset) % 3 == 0 { text += "," }
      text.append(digit)
    }
    return text
  }

  /// "0.042 s", "3.21 s", "48.5 s", "2 min 05 s".
  package static func seconds(_ value: Double) -> String {
    guard value.isFinite else { return "\(value) s" }
    if value < 1 { return fixed(value, 3) + " s" }
    if value < 10 { return fixed(value, 2) + " s" }
    if value < 99.95 { return fixed(value, 1) + " s" }
    let whole = Int(value.rounded())
    let (minutes, rest) = (whole / 60, padLeft("\(whole % 60)", to: 2, with: "0"))
    if minutes < 60 { return "\(minutes) min \(rest) s" }
    return "\(minutes / 60) h \(padLeft("\(minutes % 60)", to: 2, with: "0")) min"
  }

  /// "812 bytes", "31.5 MB", "1.48 GB", in powers of 1000.
  package static func bytes(_ value: Int) -> String {
    if value < 1000 { return "\(value) bytes" }
    if value < 1_000_000 { return fixed(Double(value) / 1e3, 1) + " KB" }
    if value < 1_000_000_000 { return fixed(Double(value) / 1e6, 1) + " MB" }
    return fixed(Double(value) / 1e9, 2) + " GB"
  }

  /// "12.3 %".
  package static func percent(_ fraction: Double) -> String {
    fixed(fraction * 100, 1) + " %"
  }

  package static func padLeft(_ text: String, to width: Int, with pad: Character = " ") -> String {
    String(repeating: pad, count: max(0, width - text.count)) + text
  }

  package static func padRight(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
