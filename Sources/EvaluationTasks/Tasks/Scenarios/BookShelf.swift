/// Books given as text files, for questions that are made from them.
public struct BookShelf: Sendable {
  /// The files' names, for messages.
  let name: String
  /// The sentences of each book, with the blanks and line ends behind them.
  private let books: [[String]]

  /// - Parameter books: names and whole texts. Throws ``TaskError/empty(file:)`` for a text without
  ///   letters.
  public init(_ books: [(name: String, text: String)]) throws {
    name = books.map(\.name).joined(separator: ", ")
    self.books = try books.map { book in
      let sentences = Haystack.split(
        book.text.last?.isWhitespace == true ? book.text : book.text + "\n")
      guard book.text.contains(where: \.isLetter) else { throw TaskError.empty(file: book.name) }
      return sentences
    }
  }

  /// The books of these files. Throws ``TaskError``.
  public init(contentsOf files: [String]) throws {
    try self.init(files.map { (name: $0, text: try TextFile.read($0)) })
  }

  /// Sentences of at least `bytes` bytes that stand one after another.
  ///
  /// Books take turns, each for two samples; the beginning is drawn. Where a book ends before, the next
  /// one follows. Fewer bytes are given where all books together have no more.
  func passage(bytes: Int, sample: Int, _ words: inout WordList) -> [String] {
    let first = sample / 2 % books.count
    let sizes = books.map { $0.reduce(0) { $0 + $1.utf8.count } }
    var start = 0
    if sizes[first] > bytes {
      var room = words.number(below: sizes[first] - bytes + 1)
      while start < books[first].count, room >= books[first][start].utf8.count {
        room -= books[first][start].utf8.count
        start += 1
      }
    }
    var passage: [String] = []
    var size = 0
    for turn in 0..<books.count where size < bytes {
      for sentence in books[(first + turn) % books.count].dropFirst(turn == 0 ? start : 0) {
        guard size < bytes else { break }
        passage.append(sentence)
        size += sentence.utf8.count
      }
    }
    return passage
  }
}
