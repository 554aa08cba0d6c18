import Files
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct AppendedFileTests {
  private func open(_ path: String) -> FileError? {
    do {
      _ = try AppendedFile(path: path)
      return nil
    } catch {
      return error
    }
  }

  @Test func `Lines are added at the end and what is there stays`() throws {
    let directory = TemporaryDirectory()
    directory.write("first\n", to: "log", mode: 0o640)
    let file = try AppendedFile(path: directory["log"])
    #expect(try file.contents() == Array("first\n".utf8))
    try file.append(Array("second\n".utf8))
    #expect(directory.text("log") == "first\nsecond\n" && directory.mode("log") == 0o640)
    #expect(try file.contents() == Array("first\nsecond\n".utf8))
    try file.removeEnd(from: 6)
    try file.append(Array("third\n".utf8))
    #expect(directory.text("log") == "first\nthird\n")
  }

  @Test func `While one writes a file no other does`() throws {
    let directory = TemporaryDirectory()
    do {
      let file = try AppendedFile(path: directory["log"])
      let second = open(directory["log"])
      #expect(second == FileError(directory["log"], .inUse))
      try file.append([0x31])
    }
    #expect(open(directory["log"]) == nil)
    #expect(directory.text("log") == "1")
  }

  @Test func `A file that cannot be read or is none is left alone`() throws {
    let directory = TemporaryDirectory()
    #expect(open(directory.path)?.problem == .notRegular("a directory"))
    #expect(open(directory["no/log"])?.reason == "its directory is not there")
    directory.write("kept", to: "log", mode: 0o222)
    if !isRoot { #expect(open(directory["log"])?.problem == .system(EACCES)) }
    chmod(directory["log"], 0o644)
    #expect(directory.text("log") == "kept")
    let file = try AppendedFile(path: directory["log"])
    #expect(throws: FileError(directory["log"], .tooLarge(bytes: 4, limit: 3))) {
      try file.contents(limit: 3)
    }
  }

  #if os(Linux)
    @Test func `A device takes lines and holds none`() throws {
      let directory = TemporaryDirectory()
      symlink("/dev/full", directory["full"])
      let file = try AppendedFile(path: directory["full"])
      #expect(try file.contents() == [])
      #expect(throws: FileError(directory["full"], .system(ENOSPC))) { try file.append([0x31]) }
    }
  #endif

  @Test func `Of a write that fails nothing stays`() throws {
    let directory = TemporaryDirectory()
    directory.write("", to: "log")
    // Three bytes less than the largest file that the system allows; all of it a hole.
    var (allowed, refused) = (off_t(0), off_t.max)
    if truncate(directory["log"], refused) == 0 { allowed = refused }
    while refused - allowed > 1, allowed != .max {
      let middle = allowed + (refused - allowed) / 2
      if truncate(directory["log"], middle) == 0 { allowed = middle } else { refused = middle }
    }
    truncate(directory["log"], allowed - 3)
    let file = try AppendedFile(path: directory["log"])
    #expect(throws: FileError(directory["log"], .system(EFBIG))) {
      try file.append([0x31, 0x32, 0x33, 0x34, 0x35])
    }
    var status = stat()
    stat(directory["log"], &status)
    #expect(status.st_size == allowed - 3)
  }
}
