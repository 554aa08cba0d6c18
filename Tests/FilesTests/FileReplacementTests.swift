import CSystemCalls
import Files
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct FileReplacementTests {
  private func error(_ body: () throws(FileError) -> Void) -> FileError? {
    do {
      try body()
      return nil
    } catch {
      return error
    }
  }

  @Test func `A new file has the permissions of the umask, a private one none for others`() throws {
    let directory = TemporaryDirectory()
    let mask = umask(0o022)
    umask(mask)
    try FileReplacement.write("new", to: directory["new"])
    #expect(directory.text("new") == "new")
    #expect(directory.mode("new") == 0o666 & ~mask)
    try Array("secret".utf8).withUnsafeBytes {
      try FileReplacement.write($0, to: directory["private"], isPrivate: true)
    }
    #expect(directory.mode("private") == 0o600)
    #expect(directory.names == ["new", "private"])
  }

  @Test(arguments: [mode_t(0o600), 0o640, 0o664, 0o755])
  func `A file that is replaced keeps its permissions`(mode: mode_t) throws {
    let directory = TemporaryDirectory()
    directory.write("old", to: "file", mode: mode)
    try FileReplacement.write("new", to: directory["file"])
    #expect(directory.text("file") == "new")
    #expect(directory.mode("file") == mode)
    try Array("own".utf8).withUnsafeBytes {
      try FileReplacement.write($0, to: directory["file"], isPrivate: true)
    }
    #expect(directory.mode("file") == 0o600)
  }

  @Test func `The old file stays until the new one is whole, and a dropped draft is removed`()
    throws
  {
    let directory = TemporaryDirectory()
    directory.write("old", to: "file")
    do {
      let replacement = try FileReplacement(path: directory["file"])
      try Array("half".utf8).withUnsafeBytes { try replacement.write($0) }
      let draft = try #require(directory.names.first { $0 != "file" })
      #expect(draft.hasPrefix(".file.") && directory.mode(draft) == 0o600)
      #expect(directory.text("file") == "old")
      withExtendedLifetime(replacement) {}
    }
    #expect(directory.names == ["file"] && directory.text("file") == "old")
  }

  @Test func `Drafts have names that nobody can foresee`() throws {
    let directory = TemporaryDirectory()
    let drafts = try (0..<10).map { _ in try FileReplacement(path: directory["file"]) }
    #expect(Set(directory.names).count == 10)
    try drafts[3].commit()
    #expect(directory.names.contains("file"))
    withExtendedLifetime(drafts) {}
  }

  @Test func `A link stays a link, and what it leads to is replaced`() throws {
    let directory = TemporaryDirectory()
    directory.write("old", to: "target", mode: 0o640)
    symlink("target", directory["inner"])
    symlink(directory["inner"], directory["link"])
    try FileReplacement.write("new", to: directory["link"])
    #expect(directory.isLink("link") && directory.isLink("inner") && !directory.isLink("target"))
    #expect(directory.text("target") == "new" && directory.mode("target") == 0o640)
    symlink("later", directory["dangling"])
    try FileReplacement.write("made", to: directory["dangling"])
    #expect(directory.isLink("dangling") && directory.text("later") == "made")
    symlink("loop", directory["loop"])
    #expect(
      error { () throws(FileError) in try FileReplacement.write("x", to: directory["loop"]) } != nil
    )
  }

  @Test func `Another hard link keeps the old contents`() throws {
    let directory = TemporaryDirectory()
    directory.write("old", to: "file")
    link(directory["file"], directory["other"])
    try FileReplacement.write("new", to: directory["file"])
    #expect(directory.text("file") == "new" && directory.text("other") == "old")
  }

  @Test func `A named pipe is written into and stays one`() throws {
    let directory = TemporaryDirectory()
    mkfifo(directory["pipe"], 0o600)
    let nobody = error { () throws(FileError) in
      try FileReplacement.write("x", to: directory["pipe"])
    }
    #expect(nobody?.reason == "nobody reads this pipe")
    let reader = open(directory["pipe"], O_RDONLY | O_NONBLOCK)
    defer { close(reader) }
    try FileReplacement.write("through", to: directory["pipe"])
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(read(reader, &buffer, 16) == 7)
    #expect(String(decoding: buffer[..<7], as: UTF8.self) == "through")
    #expect(directory.isPipe("pipe") && directory.names == ["pipe"])
  }

  #if os(Linux)
    @Test func `A full disk is said, and a device is written into`() throws {
      let directory = TemporaryDirectory()
      symlink("/dev/full", directory["full"])
      let full = error { () throws(FileError) in
        try FileReplacement.write("x", to: directory["full"])
      }
      #expect(full == FileError(directory["full"], .system(ENOSPC)))
      #expect(full?.reason == "the disk is full")
      #expect(directory.isLink("full") && directory.names == ["full"])
      #expect(isDevice("/dev/full"))
    }

    @Test func `A stream of this process is written into even if it is a file`() throws {
      let directory = TemporaryDirectory()
      directory.write("", to: "file")
      let descriptor = open(directory["file"], O_WRONLY | O_APPEND)
      defer { close(descriptor) }
      symlink("/proc/self/fd/\(descriptor)", directory["stream"])
      var before = stat()
      fstat(descriptor, &before)
      try FileReplacement.write("streamed", to: directory["stream"])
      var after = stat()
      stat(directory["file"], &after)
      #expect(directory.text("file") == "streamed" && before.st_ino == after.st_ino)
    }
  #endif

  @Test func `A directory, a missing one and one that takes no file are named as such`() {
    let directory = TemporaryDirectory()
    let itself = error { () throws(FileError) in
      try FileReplacement.write("x", to: directory.path)
    }
    #expect(itself?.reason == "it is a directory, not a regular file")
    let missing = error { () throws(FileError) in
      try FileReplacement.write("x", to: directory["no/file"])
    }
    #expect(missing?.reason == "its directory is not there")
    directory.write("old", to: "file")
    chmod(directory.path, 0o500)
    if !isRoot {
      let refused = error { () throws(FileError) in
        try FileReplacement.write("x", to: directory["file"])
      }
      #expect(refused == FileError(directory["file"], .directory(EACCES)))
    }
    #expect(directory.text("file") == "old")
  }

  @Test func `A file of the longest name can be replaced`() throws {
    let directory = TemporaryDirectory()
    let name = String(repeating: "é", count: 127)
    try FileReplacement.write("long", to: directory[name])
    #expect(directory.text(name) == "long")
  }

  @Test func `A draft that was registered can be removed by a signal handler`() throws {
    let directory = TemporaryDirectory()
    directory.write("old", to: "file")
    let draft = directory["draft"]
    directory.write("half", to: "draft")
    let slot = csystem_guard_draft(draft)
    #expect(slot >= 0)
    // Not csystem_remove_drafts: other tests' drafts are open at this moment.
    #expect(csystem_testing_remove_draft_in_child(slot) == 0)
    #expect(directory.names == ["file"])
    csystem_unguard_draft(slot)
  }
}

private func isDevice(_ path: String) -> Bool {
  var status = stat()
  return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFCHR
}
