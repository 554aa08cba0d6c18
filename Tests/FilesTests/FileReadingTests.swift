import Files
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct FileReadingTests {
  @Test func `A regular file is read as a whole, up to the limit`() throws {
    let directory = TemporaryDirectory()
    let text = String(repeating: "0123456789", count: 5000)
    directory.write(text, to: "file")
    directory.write("", to: "empty")
    #expect(try WholeFile.bytes(of: directory["file"]) == Array(text.utf8))
    #expect(try WholeFile.bytes(of: directory["file"], limit: 50_000).count == 50_000)
    #expect(try WholeFile.bytes(of: directory["empty"]) == [])
    #expect(throws: FileError(directory["file"], .tooLarge(bytes: 50_000, limit: 49_999))) {
      try WholeFile.bytes(of: directory["file"], limit: 49_999)
    }
    #expect(throws: FileError(directory["none"], .notFound)) {
      try WholeFile.bytes(of: directory["none"])
    }
    #expect(WholeFile.exists(directory["file"]) && !WholeFile.exists(directory["none"]))
    #expect(WholeFile.isDirectory(directory.path) && !WholeFile.isDirectory(directory["file"]))
  }

  @Test(.timeLimit(.minutes(1)))
  func `What is no regular file is refused without waiting, links to it too`() {
    let directory = TemporaryDirectory()
    mkfifo(directory["pipe"], 0o600)
    symlink("/dev/zero", directory["zero"])
    symlink(directory.path, directory["directory"])
    for (name, kind) in [
      ("pipe", "a named pipe"), ("zero", "a device"), ("directory", "a directory"),
    ] {
      let error = FileError(directory[name], .notRegular(kind))
      #expect(throws: error) { try WholeFile.bytes(of: directory[name]) }
      #expect(throws: error) { try MappedFile(path: directory[name]) }
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `A stream is read to its end, or to the limit`() throws {
    let directory = TemporaryDirectory()
    symlink("/dev/zero", directory["zero"])
    #expect(throws: FileError(directory["zero"], .tooLarge(bytes: nil, limit: 1 << 20))) {
      try WholeFile.bytesOrStream(of: directory["zero"], limit: 1 << 20)
    }
    #expect(throws: FileError(directory.path, .notRegular("a directory"))) {
      try WholeFile.bytesOrStream(of: directory.path)
    }
    #expect(try WholeFile.bytesOrStream(of: "/dev/null") == [])
    mkfifo(directory["pipe"], 0o600)
    // Open for both, so that neither end waits for the other.
    let both = open(directory["pipe"], O_RDWR)
    defer { close(both) }
    _ = write(both, "piped", 5)
    // More than is allowed is found before the pipe has an end.
    #expect(throws: FileError(directory["pipe"], .tooLarge(bytes: nil, limit: 4))) {
      try WholeFile.bytesOrStream(of: directory["pipe"], limit: 4)
    }
  }

  @Test func `A mapping notices a change in place, and a replacement leaves it whole`() throws {
    let directory = TemporaryDirectory()
    directory.write("0123", to: "file")
    let mapping = try MappedFile(path: directory["file"])
    #expect(Array(mapping.bytes) == Array("0123".utf8))
    try mapping.verifyUnchanged()
    try FileReplacement.write("other contents", to: directory["file"])
    try mapping.verifyUnchanged()
    #expect(Array(mapping.bytes) == Array("0123".utf8))

    let second = try MappedFile(path: directory["file"])
    directory.write("shorter", to: "file")
    #expect(throws: FileError(directory["file"], .changed(expectedBytes: 14, foundBytes: 7))) {
      try second.verifyUnchanged()
    }
    let third = try MappedFile(path: directory["file"])
    // Same length, later time.
    var times = [timespec(tv_sec: 1, tv_nsec: 0), timespec(tv_sec: 1, tv_nsec: 0)]
    utimensat(AT_FDCWD, directory["file"], &times, 0)
    #expect(throws: FileError(directory["file"], .changed(expectedBytes: 7, foundBytes: 7))) {
      try third.verifyUnchanged()
    }
    #expect(try MappedFile(path: directory["file"]).count == 7)
    directory.write("", to: "empty")
    #expect(try MappedFile(path: directory["empty"]).bytes.isEmpty)
  }

  @Test func `A fingerprint is FNV-1a over bytes`() {
    // The published test vectors of 64-bit FNV-1a.
    var empty = Fingerprint()
    #expect(empty.value == 0xcbf2_9ce4_8422_2325)
    empty.add(UInt8(ascii: "a"))
    #expect(empty.value == 0xaf63_dc4c_8601_ec8c)
    var word = Fingerprint()
    Array("foobar".utf8).withUnsafeBytes { word.add($0) }
    #expect(word.value == 0x8594_4171_f739_67e8)
    #expect(word.text == "85944171f73967e8")
    #expect(Fingerprint.of("") != Fingerprint.of("a"))
  }
}
