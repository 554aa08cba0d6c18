import Files
import Testing

/// Paths are bytes that need not be UTF-8.
@Suite struct SystemPathTests {
  static let names: [[UInt8]] = [
    Array("plain".utf8), Array("日本/e\u{301}".utf8), [0x63, 0xE9], [0xFF, 0xFE, 0x41], [0xE3, 0x83],
    [0xF0, 0x9F, 0xA6], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0x80], [],
    // The scalars that stand for bytes, in a name of their own.
    Array("\u{10FE80}x\u{10FEFF}".utf8), Array("\u{10FE80}".utf8) + [0xE9],
  ]

  @Test(arguments: names)
  func `Every name comes back as it was`(name: [UInt8]) {
    let text = SystemPath.text(of: name)
    #expect(SystemPath.bytes(of: text) == name)
    #expect(SystemPath.isRaw(text) == (String(validating: name, as: UTF8.self) != text))
    SystemPath.with(text) { pointer in
      #expect(SystemPath.text(of: pointer) == text)
    }
  }

  @Test func `Random bytes come back as they were, and different ones stay different`() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let count = Int.random(in: 0...6, using: &generator)
      let name = (0..<count).map { _ in
        // Bytes that begin or continue scalars, more often than others.
        Bool.random(using: &generator)
          ? UInt8.random(in: 0x80...0xFF, using: &generator)
          : [0xF4, 0x8F, 0xBA, 0xBB, 0x80, 0x41].randomElement(using: &generator) ?? 0
      }
      #expect(SystemPath.bytes(of: SystemPath.text(of: name)) == name, "\(name)")
    }
  }

  @Test func `Messages show foreign bytes in hexadecimal`() {
    #expect(SystemPath.readable(SystemPath.text(of: [0x63, 0xE9, 0x2F])) == "c\\xE9/")
    #expect(SystemPath.readable("café") == "café")
  }

  @Test func `A file of such a name is written, listed, read and removed`() throws {
    let directory = TemporaryDirectory()
    let name = SystemPath.text(of: [0x63, 0x61, 0x66, 0xE9])
    let path = directory[name]
    try FileReplacement.write("text", to: path)
    #expect(try WholeFile.names(inDirectory: directory.path) == [name])
    #expect(WholeFile.exists(path) && WholeFile.isReadable(path))
    #expect(try WholeFile.bytes(of: path) == Array("text".utf8))
    #expect(try MappedFile(path: path).count == 4)
    WholeFile.remove(path)
    #expect(!WholeFile.exists(path))
  }
}
