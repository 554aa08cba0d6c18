import EvaluationTasks

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Four bytes are a token: a counter for tests without a model.
let countFourBytes: TokenCounter = { ($0.utf8.count + 3) / 4 }

/// Calls `body` with the path of a file of this name and text, in a directory that is removed again.
@discardableResult
func withFile<Result>(
  _ name: String, _ text: String, _ body: (String) async throws -> Result
) async throws -> Result {
  try await withDirectory { directory in
    let path = "\(directory)/\(name)"
    try TextFile.replace(path, with: text)
    return try await body(path)
  }
}

/// Calls `body` with an empty directory of its own.
@discardableResult
func withDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
  let place = getenv("TMPDIR").map { String(cString: $0) } ?? P_tmpdir
  var template = Array("\(place)/minference-tests-XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { throw TestFailure.noDirectory }
  let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  defer {
    for name in ["", ".new"].flatMap({ suffix in used.map { $0 + suffix } }) {
      unlink("\(directory)/\(name)")
    }
    rmdir(directory)
  }
  return try await body(directory)
}

/// The file names that the tests use.
private let used = [
  "validation.jsonl", "passkey.jsonl", "longbook_choice_eng.jsonl", "vt.jsonl", "questions.json",
  "results.jsonl", "kv_retrieval.jsonl", "code_debug.jsonl",
]

enum TestFailure: Error {
  case noDirectory
}
