/// The files of a GGUF model that is split: NAME-00001-of-00003.gguf and so on.
struct GGUFParts {
  /// In their order; one for a model that is not split.
  let paths: [String]

  /// The parts of the model that `path` is one of. Looks at the name alone.
  init(of path: String) {
    guard let split = Self.split(path) else {
      paths = [path]
      return
    }
    // What follows a part that is missing is not asked for, so the list need not be long.
    paths = (1...split.count).map { Self.name(split.stem, part: $0, of: split.count) }
  }

  private static func name(_ stem: String, part: Int, of count: Int) -> String {
    func digits(_ number: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, 5 - text.count)) + text
    }
    return "\(stem)-\(digits(part))-of-\(digits(count)).gguf"
  }

  /// What stands before the numbers, and the numbers; nil for a name of another form.
  private static func split(_ path: String) -> (stem: String, part: Int, count: Int)? {
    let ending = "-00001-of-00001.gguf".utf8.count
    let bytes = Array(path.utf8)
    guard bytes.count > ending else { return nil }
    let end = bytes[(bytes.count - ending)...]
    func number(_ offset: Int) -> Int? {
      let start = end.startIndex + offset
      let digits = end[start..<start + 5]
      guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
        return nil
      }
      return Int(String(decoding: digits, as: UTF8.self))
    }
    guard let part = number(1), let count = number(10), (1...max(count, 1)).contains(part) else {
      return nil
    }
    let stem = String(decoding: bytes[..<end.startIndex], as: UTF8.self)
    return name(stem, part: part, of: count) == path ? (stem, part, count) : nil
  }

  /// The GGUF models among the names of a directory: of a split one the first part, and no projectors
  /// of images, which lie beside some models.
  static func models(among names: [String]) -> [String] {
    names.filter { name in
      guard name.hasSuffix(".gguf"), !name.hasPrefix("."), !name.hasPrefix("mmproj") else {
        return false
      }
      return split(name).map { $0.part == 1 } ?? true
    }
  }
}
