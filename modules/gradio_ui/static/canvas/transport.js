// To the server's store of input pictures and back: files as they are, named by their content.
const address = (id) => `internal/inputs/${id}.png`;

export async function upload(blob) {
  let response;
  try {
    response = await fetch('internal/inputs', {method: 'POST', body: blob, headers: {'Content-Type': 'application/octet-stream'}});
  } catch {
    throw new Error('The picture could not be sent: the server does not answer. Nothing is lost; try again.');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `The picture could not be sent: the server answered ${response.status}. Nothing is lost; try again.`);
  return answer;
}

export async function download(id) {
  const response = await fetch(address(id));
  if (!response.ok) throw new Error('The server does not have this picture any more: load it again.');
  return response.blob();
}

export const isThere = async (id) => (await fetch(address(id), {method: 'HEAD'}).catch(() => null))?.ok ?? false;

// The server forgets pictures that nobody used for long; then it gets them once more.
export const ensure = async (picture) => (await isThere(picture.id) ? picture.id : (await upload(picture.blob)).id);
