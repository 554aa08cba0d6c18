import MInference
import TemporaryCheckpoints
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Sessions in files.
@Suite struct SessionSavingTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws { (directory, model) = try TinyModel.make(threads: 2) }

  private func ids(_ count: Int) -> [Int32] {
    (0..<Int32(count)).map { ($0 &* 37 &+ $0 / 7) % 250 }
  }

  private func session(
    _ type: DataType = .float32, capacity: Int = 1500, of model: LanguageModel? = nil
  ) throws -> Session {
    try (model ?? self.model).makeSession(
      capacity: capacity,
      options: SessionOptions(
        attention: AttentionOptions(mode: .dense), keyValues: KeyValueOptions(type: type)))
  }

  private func answer(_ session: Session, tokens: Int = 8) async throws -> String {
    var text = ""
    for try await piece in session.generate(GenerationOptions(maximumTokens: tokens)) {
      text += piece
    }
    return text
  }

  private func bytes(_ path: String) throws -> [UInt8] {
    let file = try #require(fopen(path, "rb"))
    defer { fclose(file) }
    var buffer = [UInt8](repeating: 0, count: 1 << 22)
    let count = fread(&buffer, 1, buffer.count, file)
    try #require(count < buffer.count)
    return Array(buffer[..<count])
  }

  /// A file of a session that has read 1100 tokens, more than one block of it, and answered some.
  private func saved(_ type: DataType = .float32) async throws -> (path: String, session: Session) {
    let path = directory.path("saved")
    let session = try session(type)
    try await session.prefill(ids(1100))
    _ = try await answer(session)
    try await session.save(to: path)
    return (path, session)
  }

  @Test(arguments: [DataType.float32, .bfloat16])
  func `a restored session goes on as the saved one does, to the last bit`(type: DataType)
    async throws
  {
    let (path, original) = try await saved(type)
    let tokens = original.tokens
    let restored = try session(type, capacity: 1300)
    try await restored.restore(from: path)
    #expect(restored.tokens == tokens)
    // 2 layers of keys and values, 1 head of 64, and less than a hundred bytes beside ids of 4.
    let numbers = try bytes(path).count - 2 * 2 * 64 * (tokens.count - 1) * type.byteCount
    #expect(numbers - 4 * tokens.count < 100 && numbers > 4 * tokens.count)

    let next = tokens + ids(20)
    let reports = (try await original.read(next), try await restored.read(next))
    #expect(reports.1.reusedTokens == tokens.count - 1)
    #expect(reports.0.reusedTokens == reports.1.reusedTokens)
    #expect(try #require(restored.nextLogits) == #require(original.nextLogits))
    #expect(try await answer(restored) == answer(original))
    // Saving again gives the same bytes.
    let again = directory.path("again")
    let other = try session(type)
    try await other.restore(from: path)
    try await other.save(to: again)
    #expect(try bytes(again) == bytes(path))
  }

  @Test func `restoring replaces what a session holds, and an answer needs a prompt`() async throws
  {
    let (path, original) = try await saved()
    let other = try session()
    try await other.prefill([1, 2, 3])
    try await other.restore(from: path)
    #expect(other.tokens == original.tokens)
    await #expect(throws: LanguageModelError.nothingPrefilled) { try await answer(other) }
    // An append reads the token that was given out before it.
    #expect(try await other.prefill([5, 6]).tokens == 3)
  }

  private func refusal(
    _ bytes: [UInt8], by session: Session, named name: String = "changed"
  ) async throws -> CacheFileError? {
    try directory.write(bytes, to: name)
    do {
      try await session.restore(from: directory.path(name))
      return nil
    } catch let error as CacheFileError {
      #expect(!"\(error)".contains("\n"))
      return error
    }
  }

  @Test func `a file that is not whole or not the same is refused and changes nothing`()
    async throws
  {
    let path = try await saved().path
    let whole = try bytes(path)
    let session = try session()
    try await session.prefill([1, 2, 3])
    let file = directory.path("changed")
    func changed(_ offset: Int, _ change: UInt8 = 1) -> [UInt8] {
      var bytes = whole
      bytes[offset < 0 ? bytes.count + offset : offset] ^= change
      return bytes
    }
    // Ids, the first layer, the last one, the checksum itself.
    for offset in [72, 80, 6000, whole.count / 2, -9, -1] {
      #expect(
        try await refusal(changed(offset), by: session) == .checksum(file: file), "\(offset)")
    }
    #expect(
      try await refusal(changed(8, 1), by: session) == .version(file: file, found: 3, known: 2))
    #expect(try await refusal(changed(16), by: session) == .model(file: file))
    #expect(try await refusal(changed(32), by: session) == .model(file: file))
    #expect(
      try await refusal(changed(12), by: session)
        == .format(file: file, found: "bfloat16", wanted: "float32"))
    for cut in [1, 8, 100, whole.count - 72] {
      #expect(
        try await refusal(Array(whole.dropLast(cut)), by: session)
          == .size(file: file, bytes: whole.count - cut, wanted: whole.count), "\(cut)")
    }
    #expect(
      try await refusal(whole + [0], by: session)
        == .size(file: file, bytes: whole.count + 1, wanted: whole.count))
    for bytes in [[], Array(whole[..<71]), changed(0), Array("hello".utf8)] {
      #expect(try await refusal(bytes, by: session) == .foreign(file: file))
    }
    // Counts that no file can have.
    for offset in [48, 56, 64] {
      #expect(try await refusal(changed(offset + 7, 0x80), by: session) == .foreign(file: file))
    }
    await #expect(throws: CacheFileError.self) {
      try await session.restore(from: directory.path("none"))
    }
    await #expect(throws: CacheFileError.self) { try await session.restore(from: directory.path) }
    #expect(session.tokens == [1, 2, 3])
    #expect(try await session.read([1, 2, 3, 4]).reusedTokens == 3)
    #expect(try await refusal(whole, by: session) == nil)
  }

  @Test func `another model, another format and too small a session are refused`() async throws {
    let (path, original) = try await saved()
    await #expect(
      throws: CacheFileError.format(file: path, found: "float32", wanted: "bfloat16")
    ) { try await session(.bfloat16).restore(from: path) }
    await #expect(
      throws: CacheFileError.tooLong(file: path, tokens: original.tokens.count, capacity: 500)
    ) { try await session(capacity: 500).restore(from: path) }
    // The same weights, turned by other frequencies.
    try TinyCheckpoint.write(
      to: directory, name: "other", configuration: ["rope_theta": "20000.0"])
    let other = try LanguageModel(
      LoadOptions(directory: directory.path("other"), device: .cpu, threads: 2))
    await #expect(throws: CacheFileError.model(file: path)) {
      try await session(of: other).restore(from: path)
    }
    // The same configuration, other weights.
    try TinyCheckpoint.write(to: directory, name: "trained", poison: 0.5)
    let trained = try LanguageModel(
      LoadOptions(directory: directory.path("trained"), device: .cpu, threads: 2))
    await #expect(throws: CacheFileError.model(file: path)) {
      try await session(of: trained).restore(from: path)
    }
    await #expect(throws: CacheFileError.nothingToSave) { try await session().save(to: path) }
  }

  @Test func `what cannot be written leaves nothing behind, and an old file as it was`()
    async throws
  {
    let (path, original) = try await saved()
    let before = try bytes(path)
    await #expect(throws: CacheFileError.self) {
      try await original.save(to: directory.path("none/saved"))
    }
    // A directory cannot be replaced by a file.
    try directory.makeDirectory("taken")
    await #expect(throws: CacheFileError.self) {
      try await original.save(to: directory.path("taken"))
    }
    #expect(try bytes(path) == before)
    // A conversation is for its owner alone.
    #expect(try directory.permissions(of: "saved") == 0o600)
    #expect(directory.names.contains("taken"))
    #expect(!directory.names.contains { $0.hasSuffix(".draft") })
  }
}
