// Reading on until a screen is full: for conditions that the server is not asked for.
//
// Decides how far one press reads. Does not decide what fits, nor how it is shown.

/** @import { RecordPage, SessionRecord } from "../../lib/past.js" */

/** Records looked through for one screen: ten of the server's pages, some seconds. Then people are told and asked. */
export const MOST_LOOKED_THROUGH = 2_000;

/**
 * Reads pages until enough records fit, there are no more, or enough were looked through. All of a page that fits is
 * kept, so that nothing is skipped by what follows.
 * @param {object} options
 * @param {(pageToken: string) => Promise<RecordPage>} options.load
 * @param {(record: SessionRecord) => boolean} options.fits
 * @param {string} options.pageToken where to begin; empty at the newest
 * @param {number} options.wanted
 * @param {number} [options.most]
 * @returns {Promise<{ records: SessionRecord[], nextPageToken: string, seen: number, oldest: string | null }>}
 *   `seen`: looked through; `oldest`: when the last of those was created
 */
export async function readOn({ load, fits, pageToken, wanted, most = MOST_LOOKED_THROUGH }) {
  const records = [];
  let seen = 0;
  let oldest = null;
  let next = pageToken;
  do {
    const page = await load(next);
    records.push(...page.records.filter(fits));
    seen += page.records.length;
    oldest = page.records.at(-1)?.createdAt ?? oldest;
    next = page.nextPageToken;
  } while (next && records.length < wanted && seen < most);
  return { records, nextPageToken: next, seen, oldest };
}
